"""Topics of SNS as targets: the payload is published."""

from __future__ import annotations

import time
import uuid

from services.router.deliveries.contract import DeliveryError, TargetMissingError, UndeliverableError
from shared.domain.arns import home_of
from shared.domain.errors import ServiceException
from shared.domain.topics import MESSAGE_BYTES_MAX, Topic, deduplication_id_of
from shared.events.records import Delivery, TopicParameters
from shared.registry.topic_cache import TopicCache
from shared.sns.publisher import Publisher
from shared.sns.records import Published


class ToTopic:
    def __init__(self, topics: TopicCache, publisher: Publisher) -> None:
        self._topics = topics
        self._publisher = publisher

    async def deliver(self, delivery: Delivery) -> None:
        home, name = home_of(delivery.target), delivery.target.rpartition(":")[2]
        try:
            topic = await self._topics.find(home, name)
            if topic is None:
                raise TargetMissingError(f"there is no topic {delivery.target}")
            [(_, failure)] = await self._publisher.publish(topic, [_message(topic, delivery)])
        except ServiceException as error:
            raise DeliveryError(error.message) from error
        if failure is not None:
            raise DeliveryError(failure.message)


def _message(topic: Topic, delivery: Delivery) -> Published:
    """Raises UndeliverableError."""
    given = delivery.parameters if isinstance(delivery.parameters, TopicParameters) else TopicParameters()
    if topic.fifo and not given.group_id:
        raise UndeliverableError(f"{delivery.target} is a FIFO topic, and nothing says which group the message is of")
    if len(delivery.payload) > MESSAGE_BYTES_MAX:
        raise UndeliverableError(f"{len(delivery.payload)} bytes are too large for a topic")
    text = delivery.payload.decode(errors="replace")
    return Published(
        topic_arn=topic.arn,
        # The same for every try, so that a second delivery can be told from a second message.
        message_id=str(uuid.uuid5(uuid.NAMESPACE_URL, delivery.delivery_id)),
        message=text,
        at_ms=time.time_ns() // 1_000_000,
        revision=topic.revision,
        subject=given.subject,
        attributes=delivery.attributes,
        group_id=given.group_id,
        deduplication_id=deduplication_id_of(topic, given.deduplication_id, text),
        trace=delivery.trace,
    )
