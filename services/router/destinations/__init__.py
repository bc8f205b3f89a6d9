"""Where outcomes go: a file for each kind of destination, all with one face."""

from __future__ import annotations

from typing import Protocol

from shared.domain.errors import LambdadError
from shared.events.records import Outcome


class DeliveryError(LambdadError):
    """The destination did not take it now; later it may."""


class UndeliverableError(LambdadError):
    """The destination will never take it; the text says why."""


class Destination(Protocol):
    async def deliver(self, outcome: Outcome, target: str) -> None:
        """Returns when the destination has the outcome durably. target: the destination as it was configured, an ARN or
        kafka://topic. Raises DeliveryError or UndeliverableError."""
