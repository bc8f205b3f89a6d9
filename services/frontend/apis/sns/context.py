"""The parts that SNS's handlers work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from services.frontend.apis.sns.errors import NotFoundException
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import Home
from shared.domain.topics import Topic
from shared.registry import sns
from shared.registry.registry import Registry
from shared.registry.topic_cache import TopicCache
from shared.sns.publisher import Publisher

Reply = dict[str, Any]
Operation = Callable[["SnsContext", Call, Params], Awaitable[Reply | None]]


class SnsContext(msgspec.Struct, frozen=True):
    """topics: this frontend's own cache, told of every change that is made here. account_id: the cluster's."""

    registry: Registry
    topics: TopicCache
    publisher: Publisher
    account_id: str

    async def topic(self, home: Home, name: str) -> Topic:
        """As the registry has it. Raises NotFoundException."""
        async with self.registry.read() as connection:
            return found_topic(await sns.find(connection, home, name))

    def changed(self, home: Home, name: str) -> None:
        """Once the change of a topic, or of its subscriptions, is committed."""
        self.topics.forget(home, name)


def found_topic(topic: Topic | None) -> Topic:
    if topic is None:
        raise NotFoundException("Topic does not exist")
    return topic
