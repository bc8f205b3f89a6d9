"""One deliverer for each kind of target in shared/domain/destinations, by the kind's name."""

from __future__ import annotations

from typing import Self

from services.router.deliveries.contract import Deliverer
from services.router.deliveries.handing_over import HandingOver
from services.router.deliveries.http_requests import HttpRequests
from services.router.deliveries.kept_for_topic import KeptForTopic
from services.router.deliveries.to_bucket import ToBucket
from services.router.deliveries.to_function import ToFunction
from services.router.deliveries.to_http import ToHttp
from services.router.deliveries.to_kafka_topic import ToKafkaTopic
from services.router.deliveries.to_queue import ToQueue
from shared.dispatch.client.invoker import TargetResolver
from shared.domain.destinations import ADDRESS, API_DESTINATION, BUCKET, EVENT_BUS, FUNCTION, KAFKA_TOPIC, QUEUE, TOPIC
from shared.events.queue import AsyncQueue
from shared.queues import KeptTopics, Queues
from shared.settings import Settings


class Targets:
    """deliverers: by kind. keepers: by kind, for targets that do not exist. Use as an async context manager."""

    def __init__(
        self,
        settings: Settings,
        queues: Queues,
        resolver: TargetResolver,
        queue: AsyncQueue,
        topics: Deliverer,
        buses: Deliverer,
        requests: HttpRequests,
        api_destinations: Deliverer,
    ) -> None:
        """queues: left open and closed by others. resolver: knows functions. queue: where their events wait. topics: of SNS.
        requests: closed with the rest."""
        self._kept_topics = KeptTopics.of(settings)
        self._kafka = ToKafkaTopic(settings)
        self._requests = requests
        self.deliverers: dict[str, Deliverer] = {
            QUEUE.name: ToQueue(queues),
            TOPIC.name: topics,
            FUNCTION.name: ToFunction(resolver, queue, HandingOver(queues)),
            EVENT_BUS.name: buses,
            BUCKET.name: ToBucket(settings),
            KAFKA_TOPIC.name: self._kafka,
            ADDRESS: ToHttp(requests),
            API_DESTINATION: api_destinations,
        }
        self.keepers: dict[str, Deliverer] = {
            QUEUE.name: ToQueue(queues, kept=True),
            TOPIC.name: KeptForTopic(self._kept_topics, settings.region),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._requests.close()
        await self._kafka.close()
        await self._kept_topics.close()
