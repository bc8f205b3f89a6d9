"""One deliverer for each kind of destination in shared/domain/destinations, by the kind's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec

from services.router.destinations import Destination
from services.router.destinations.function import FunctionDestination
from services.router.destinations.kafka import KafkaDestination
from services.router.destinations.messages import MessageDeadLetters, MessageDestination
from services.router.destinations.s3 import S3Destination
from shared.domain.destinations import BUCKET, FUNCTION, KAFKA_TOPIC, QUEUE, TOPIC
from shared.events.queue import AsyncQueue
from shared.queues import QueueWriter
from shared.settings import Settings


class Deliverers(msgspec.Struct, frozen=True):
    """destinations: of records. dead_letters: of events themselves."""

    destinations: Mapping[str, Destination]
    dead_letters: Mapping[str, Destination]

    @classmethod
    def of(cls, settings: Settings, queues: QueueWriter, queue: AsyncQueue, topics: KafkaDestination) -> Self:
        region = settings.region
        return cls(
            destinations={
                QUEUE.name: MessageDestination(queues.send, region),
                TOPIC.name: MessageDestination(queues.publish, region),
                FUNCTION.name: FunctionDestination(queue),
                BUCKET.name: S3Destination(settings),
                KAFKA_TOPIC.name: topics,
            },
            dead_letters={
                QUEUE.name: MessageDeadLetters(queues.send, region),
                TOPIC.name: MessageDeadLetters(queues.publish, region),
            },
        )
