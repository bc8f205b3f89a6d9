"""Queues and topics: the stand-ins of SQS and SNS on Redis streams, as destinations and for dead letters."""

from __future__ import annotations

from typing import Protocol

from services.router.destinations import DeliveryError, record
from shared.events.records import Outcome
from shared.queues import Attribute, QueueUnavailableError


class Send(Protocol):
    """`QueueWriter.send` or `QueueWriter.publish`: to a queue, or to a topic, by its name."""

    async def __call__(
        self, name: str, body: bytes, attributes: dict[str, Attribute] | None, /, *, deduplication_id: str
    ) -> str: ...


class MessageDestination:
    """The record is the message's body; it has no attributes."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def deliver(self, outcome: Outcome, target: str) -> None:
        body = record.batch_record(outcome) if outcome.batch is not None else record.invocation_record(outcome)
        await _deliver(self._send, target, body, None, f"{outcome.event_id}:{outcome.condition.value}")


class MessageDeadLetters:
    """The event is the message's body; attributes say why it is there."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def deliver(self, outcome: Outcome, target: str) -> None:
        attributes = record.dead_letter_attributes(outcome)
        await _deliver(self._send, target, outcome.request_payload, attributes, f"{outcome.event_id}:letter")


async def _deliver(send: Send, arn: str, body: bytes, attributes: dict[str, Attribute] | None, deduplication_id: str) -> None:
    try:
        await send(arn.rpartition(":")[2], body, attributes, deduplication_id=deduplication_id)
    except QueueUnavailableError as error:
        raise DeliveryError(str(error)) from error
