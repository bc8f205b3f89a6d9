"""A record of the topic of SNS to its deliveries: it is done with when each of them is at its end or durable elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
from prometheus_client import Counter

from services.router.sns import documents, making
from services.router.sns.documents import Signature
from services.router.sns.subscriptions import Ready, SubscriptionCache
from shared.domain.errors import ServiceException
from shared.domain.topics import Topic
from shared.events.records import Delivery
from shared.registry.registry import Registry
from shared.settings import Settings
from shared.sns import signing
from shared.sns.records import Handshake, Published, decode
from shared.sns.signing import SigningKey

log = logging.getLogger("lambdad.router")

PUBLISHED = Counter("lambdad_sns_messages_total", "Messages of topics that were fanned out", ["outcome"])
FILTERED = Counter("lambdad_sns_filtered_total", "Messages that a subscription's filter policy kept back")

Deliver = Callable[[Sequence[Delivery]], Awaitable[None]]

T = TypeVar("T")
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class FanOut:
    """deliver: returns when nothing of what it was given would be lost."""

    def __init__(self, settings: Settings, registry: Registry, deliver: Deliver) -> None:
        self._subscriptions = SubscriptionCache(registry)
        self._registry = registry
        self._secret = settings.cluster_secret.get_secret_value().encode()
        self._key: SigningKey | None = None
        self._key_lock = asyncio.Lock()
        self._deliver = deliver
        self._endpoint = f"http://{settings.frontend.host}:{settings.frontend.port}"
        self._groups: dict[str, tuple[asyncio.Lock, int]] = {}

    async def handle(self, value: bytes) -> None:
        """Raises RecordError for what is none; after any other exception the record has to come again."""
        record = decode(value)
        if not record.endpoint:
            record = msgspec.structs.replace(record, endpoint=self._endpoint)
        if isinstance(record, Handshake):
            await self._shake_hands(record)
        elif record.revision == 0:
            await self._deliver([making.to_nobody(record)])
        else:
            async with self._turn(record):
                await self._fan_out(record)

    async def _shake_hands(self, record: Handshake) -> None:
        key, version = await self._until_answered(self._signing_key), record.signature_version
        await self._deliver([making.handshake_of(record, lambda members: _signed(key, members, version, record.endpoint))])

    async def _fan_out(self, message: Published) -> None:
        found = await self._until_answered(lambda: self._subscriptions.of(message.topic_arn, message.revision))
        if found.topic is None:
            PUBLISHED.labels("topic_deleted").inc()
            return
        wanted = [ready for ready in found.subscriptions if making.wants(ready, message)]
        FILTERED.inc(len(found.subscriptions) - len(wanted))
        PUBLISHED.labels("delivered" if wanted else "nobody").inc()
        if not wanted:
            return
        signatures = await self._signatures(found.topic, message, wanted)
        await self._deliver([making.delivery_of(ready, message, signatures.get(_text(ready, message))) for ready in wanted])

    async def _signatures(self, topic: Topic, message: Published, wanted: Sequence[Ready]) -> dict[str, Signature]:
        """By the text that is signed: one for all who get the same."""
        texts = {_text(ready, message) for ready in wanted if making.needs_signature(ready.subscription, message)}
        if not texts:
            return {}
        key = await self._until_answered(self._signing_key)
        version = topic.signature_version
        return {
            text: await asyncio.to_thread(_signed, key, documents.signed_members(message, text), version, message.endpoint)
            for text in texts
        }

    async def _signing_key(self) -> SigningKey:
        async with self._key_lock:
            if self._key is None:
                self._key = await signing.load(self._registry, self._secret)
            return self._key

    async def _until_answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The registry is waited for: a record that was given up would not come again before its partition moves."""
        for failures in itertools.count():
            try:
                return await ask()
            except ServiceException as error:
                log.warning("a message of a topic waits: %s", error.message)
                await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
        raise AssertionError

    @contextlib.asynccontextmanager
    async def _turn(self, message: Published) -> AsyncIterator[None]:
        """Messages of one group of a FIFO topic are fanned out one after the other, in the order of their partition."""
        if message.sequence_number is None:
            yield
            return
        group = f"{message.topic_arn} {message.group_id}"
        lock, waiting = self._groups.get(group, (asyncio.Lock(), 0))
        self._groups[group] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._groups[group]
            if waiting == 1:
                del self._groups[group]
            else:
                self._groups[group] = lock, waiting - 1


def _text(ready: Ready, message: Published) -> str:
    return documents.text_for(message, ready.subscription.protocol.value)


def _signed(key: SigningKey, members: Mapping[str, str], version: str, endpoint: str) -> Signature:
    return Signature(version, key.sign(members, version), key.page_of(endpoint))
