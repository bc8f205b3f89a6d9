"""What can go wrong with queues."""

from __future__ import annotations

from shared.domain.errors import LambdadError


class QueueError(LambdadError):
    """Base of the errors of queues."""


class QueueUnavailableError(QueueError):
    """Redis cannot be reached, did not answer in time or has no room; what was asked for may or may not have been done."""


class QueueMissingError(QueueError):
    """There is no such queue."""


class DeduplicationIdMissingError(QueueError):
    """A message to a FIFO queue has no deduplication id, and the queue does not take the content for one. Nothing was sent."""


class TooManyInFlightError(QueueError):
    """The queue has as many received messages that nobody has deleted as it may have."""


class PurgeInProgressError(QueueError):
    """The queue was purged less than 60 seconds ago."""


class MoveTaskRunningError(QueueError):
    """The queue has a move task that runs."""


class MoveTaskMissingError(QueueError):
    """There is no such move task, or it has ended."""
