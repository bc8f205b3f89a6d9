"""Queues: the SQS stand-in on Redis streams, as destination and as dead-letter queue."""

from __future__ import annotations

from services.router.destinations import DeliveryError, record
from shared.events.records import Outcome
from shared.queues import Attribute, QueueUnavailableError, QueueWriter


class SqsDestination:
    """The record is the message's body; it has no attributes."""

    def __init__(self, queues: QueueWriter) -> None:
        self._queues = queues

    async def deliver(self, outcome: Outcome, target: str) -> None:
        body = record.batch_record(outcome) if outcome.batch is not None else record.invocation_record(outcome)
        await _send(self._queues, target, body, None, f"{outcome.event_id}:{outcome.condition.value}")


class SqsDeadLetters:
    """The event is the message's body; attributes say why it is there."""

    def __init__(self, queues: QueueWriter) -> None:
        self._queues = queues

    async def deliver(self, outcome: Outcome, target: str) -> None:
        attributes = record.dead_letter_attributes(outcome)
        await _send(self._queues, target, outcome.request_payload, attributes, f"{outcome.event_id}:letter")


async def _send(
    queues: QueueWriter, arn: str, body: bytes, attributes: dict[str, Attribute] | None, deduplication_id: str
) -> None:
    try:
        await queues.send(arn.rpartition(":")[2], body, attributes, deduplication_id=deduplication_id)
    except QueueUnavailableError as error:
        raise DeliveryError(str(error)) from error
