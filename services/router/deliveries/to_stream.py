"""Queues and topics as targets: streams of Redis that stand in for SQS and SNS."""

from __future__ import annotations

from typing import Protocol

from services.router.deliveries.contract import DeliveryError
from shared.events.records import Delivery, MessageAttribute
from shared.queues import Attribute, QueueUnavailableError, name_of


class Send(Protocol):
    """`QueueWriter.send` or `QueueWriter.publish`: to a queue, or to a topic, by its name."""

    async def __call__(
        self, name: str, body: bytes, attributes: dict[str, Attribute] | None, /, *, deduplication_id: str
    ) -> str: ...


class ToStream:
    """region: whose queues and topics go by their names alone."""

    def __init__(self, send: Send, region: str) -> None:
        self._send = send
        self._region = region

    async def deliver(self, delivery: Delivery) -> None:
        attributes = {name: _shown(attribute) for name, attribute in delivery.attributes.items()}
        name = name_of(delivery.target, self._region)
        try:
            await self._send(name, delivery.payload, attributes, deduplication_id=delivery.delivery_id)
        except QueueUnavailableError as error:
            raise DeliveryError(str(error)) from error


def _shown(attribute: MessageAttribute) -> Attribute:
    return Attribute(attribute.data_type, attribute.text if attribute.binary is None else attribute.binary.hex())
