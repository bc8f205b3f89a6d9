"""Topics of SNS that do not exist: what they should have had is kept."""

from __future__ import annotations

from services.router.deliveries.contract import DeliveryError
from services.router.deliveries.to_queue import shown
from shared.events.records import Delivery
from shared.queues import KeptTopics, QueueUnavailableError, name_of


class KeptForTopic:
    """region: whose topics go by their names alone."""

    def __init__(self, topics: KeptTopics, region: str) -> None:
        self._topics = topics
        self._region = region

    async def deliver(self, delivery: Delivery) -> None:
        attributes = {name: shown(attribute) for name, attribute in delivery.attributes.items()}
        name = name_of(delivery.target, self._region)
        try:
            await self._topics.keep(name, delivery.payload, attributes, delivery_id=delivery.delivery_id)
        except QueueUnavailableError as error:
            raise DeliveryError(str(error)) from error
