"""The subscriptions of topics in this process's memory, ready to be asked whether they want a message."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Self

import msgspec

from shared.domain.arns import home_of
from shared.domain.delivery_policies import Effective, effective
from shared.domain.filter_policies import FilterPolicy, FilterPolicyError, Scope
from shared.domain.topics import Subscription, Topic
from shared.registry import sns
from shared.registry.registry import Registry

log = logging.getLogger("lambdad.router")

TTL_S = 1.0
TOPICS_MAX = 2_000


class Ready(msgspec.Struct, frozen=True):
    """filter: None for one that wants everything. delivery: of one to an address."""

    subscription: Subscription
    filter: FilterPolicy | None
    delivery: Effective | None

    @classmethod
    def of(cls, subscription: Subscription, topic: Topic) -> Self:
        attributes = subscription.attributes
        delivery = None
        if subscription.protocol.by_address:
            delivery = effective(attributes.get("DeliveryPolicy"), topic.attributes.get("DeliveryPolicy"))
        return cls(subscription, _filter_of(subscription), delivery)


def _filter_of(subscription: Subscription) -> FilterPolicy | None:
    text = subscription.attributes.get("FilterPolicy")
    if text is None:
        return None
    try:
        return FilterPolicy(text, Scope(subscription.attributes.get("FilterPolicyScope", Scope.ATTRIBUTES)))
    except FilterPolicyError as error:
        # One that an earlier version took: nothing is lost by delivering more than was asked for.
        log.error("the filter policy of %s is not understood, so it lets everything through: %s", subscription.arn, error)
        return None


class Subscribed(msgspec.Struct, frozen=True):
    """topic: None where it does not exist (any more)."""

    topic: Topic | None
    subscriptions: tuple[Ready, ...] = ()


class SubscriptionCache:
    """Read again after a second, and at once for a message whose publisher knew of a later change. Bounded; those who ask for
    the same topic share one read."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._entries: dict[str, tuple[float, Subscribed]] = {}
        self._loads: dict[str, asyncio.Task[Subscribed]] = {}

    async def of(self, topic_arn: str, revision: int) -> Subscribed:
        """revision: of the topic, as whoever published knew it. Raises ServiceException."""
        entry = self._entries.get(topic_arn)
        if entry is not None and entry[0] > time.monotonic():
            topic = entry[1].topic
            if topic is not None and topic.revision >= revision:
                return entry[1]
        found = await self._load_shared(topic_arn)
        if found.topic is not None and found.topic.revision < revision:
            # A read that had begun before the change.
            found = await self._load_shared(topic_arn)
        return found

    async def _load_shared(self, topic_arn: str) -> Subscribed:
        load = self._loads.get(topic_arn)
        if load is None:
            load = asyncio.create_task(self._load(topic_arn))
            self._loads[topic_arn] = load
            load.add_done_callback(lambda done: self._loaded(topic_arn, done))
        return await asyncio.shield(load)

    def _loaded(self, topic_arn: str, load: asyncio.Task[Subscribed]) -> None:
        self._loads.pop(topic_arn, None)
        if load.cancelled() or load.exception() is not None:
            return
        self._entries[topic_arn] = (time.monotonic() + TTL_S, load.result())
        while len(self._entries) > TOPICS_MAX:
            self._entries.pop(next(iter(self._entries)))

    async def _load(self, topic_arn: str) -> Subscribed:
        home, name = home_of(topic_arn), topic_arn.rpartition(":")[2]
        async with self._registry.read() as connection:
            topic = await sns.find(connection, home, name)
            if topic is None:
                return Subscribed(None)
            found = await sns.confirmed(connection, home, name)
        return Subscribed(topic, tuple(Ready.of(one, topic) for one in found))
