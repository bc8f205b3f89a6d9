"""Queues and topics: the stand-ins of SQS and SNS on Redis streams, as destinations and for dead letters."""

from __future__ import annotations

from typing import Protocol

from services.router.destinations import DeliveryError, record
from shared.events.records import Outcome
from shared.queues import Attribute, QueueUnavailableError, name_of


class Send(Protocol):
    """`QueueWriter.send` or `QueueWriter.publish`: to a queue, or to a topic, by its name."""

    async def __call__(
        self, name: str, body: bytes, attributes: dict[str, Attribute] | None, /, *, deduplication_id: str
    ) -> str: ...


class MessageDestination:
    """The record is the message's body; it has no attributes. region: whose queues and topics go by their names alone."""

    def __init__(self, send: Send, region: str) -> None:
        self._send = send
        self._region = region

    async def deliver(self, outcome: Outcome, target: str) -> None:
        body = record.batch_record(outcome) if outcome.batch is not None else record.invocation_record(outcome)
        await _deliver(self._send, name_of(target, self._region), body, None, f"{outcome.event_id}:{outcome.condition.value}")


class MessageDeadLetters:
    """The event is the message's body; attributes say why it is there. region: as above."""

    def __init__(self, send: Send, region: str) -> None:
        self._send = send
        self._region = region

    async def deliver(self, outcome: Outcome, target: str) -> None:
        attributes = record.dead_letter_attributes(outcome)
        name = name_of(target, self._region)
        await _deliver(self._send, name, outcome.request_payload, attributes, f"{outcome.event_id}:letter")


async def _deliver(send: Send, name: str, body: bytes, attributes: dict[str, Attribute] | None, deduplication_id: str) -> None:
    try:
        await send(name, body, attributes, deduplication_id=deduplication_id)
    except QueueUnavailableError as error:
        raise DeliveryError(str(error)) from error
