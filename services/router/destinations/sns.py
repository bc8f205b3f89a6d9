"""Topics of SNS: the stand-in on Redis streams, as destination."""

from __future__ import annotations

from services.router import record
from services.router.destinations import DeliveryError
from shared.events.records import Outcome
from shared.queues import QueueUnavailableError, QueueWriter


class SnsDestination:
    """The record is the message."""

    def __init__(self, queues: QueueWriter) -> None:
        self._queues = queues

    async def deliver(self, outcome: Outcome, target: str) -> None:
        body = record.batch_record(outcome) if outcome.batch is not None else record.invocation_record(outcome)
        try:
            await self._queues.publish(
                target.rpartition(":")[2], body, deduplication_id=f"{outcome.event_id}:{outcome.condition.value}"
            )
        except QueueUnavailableError as error:
            raise DeliveryError(str(error)) from error
