"""Where an asynchronous invocation waits: the frontend's and the router's way in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import Counter

from shared.domain.errors import ServiceException
from shared.events.producer import BatchingProducer, ProduceError
from shared.events.records import AsyncEvent, encode
from shared.events.topics import TopicNames, ensure_topics
from shared.settings import Settings

ACCEPTED = Counter("lambdad_async_accepted_total", "Asynchronous events that Kafka has acknowledged")
REFUSED = Counter("lambdad_async_refused_total", "Asynchronous events that Kafka did not acknowledge in time")


class AsyncQueue:
    """Events that are accepted: whatever `enqueue` returned for is on every in-sync replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = TopicNames.of(settings.events).asynchronous
        self._producer = BatchingProducer.of(settings, "async-queue")

    async def open(self) -> None:
        """Create missing topics and connect. Raises EventsUnavailableError, KafkaError or OSError."""
        await ensure_topics(self._settings)
        await self._producer.open()

    async def close(self) -> None:
        await self._producer.close()

    @property
    def producer(self) -> BatchingProducer:
        """For others of this process that write to the cluster's topics."""
        return self._producer

    def brokers(self) -> list[tuple[str, int]]:
        """Host and port of each, as Kafka advertises them."""
        return self._producer.brokers()

    def problem(self) -> str | None:
        """For readiness: what is wrong, None when the last delivery worked."""
        return self._producer.problem()

    def start(self, event: AsyncEvent, on_end: Callable[[ServiceException | None], None]) -> None:
        """Accept an event: on_end gets None after acks=all, ServiceException when Kafka does not acknowledge within
        produce_timeout_s; once, and never before `start` has returned."""

        def ended(error: ProduceError | None) -> None:
            if error is None:
                ACCEPTED.inc()
                on_end(None)
            else:
                REFUSED.inc()
                on_end(_not_queued())

        self._producer.start(self._topic, encode(event), ended)

    async def enqueue(self, event: AsyncEvent) -> None:
        """`start`, awaited. Raises ServiceException."""
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_end(error: ServiceException | None) -> None:
            if accepted.done():
                return
            if error is None:
                accepted.set_result(None)
            else:
                accepted.set_exception(error)

        self.start(event, on_end)
        await accepted


def _not_queued() -> ServiceException:
    return ServiceException("The event could not be queued. Please try again.")
