"""Where an asynchronous invocation waits: the frontend's and the router's way in."""

from __future__ import annotations

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

    async def start(self) -> None:
        """Create missing topics and connect. Raises EventsUnavailableError, KafkaError or OSError."""
        await ensure_topics(self._settings)
        await self._producer.start()

    async def close(self) -> None:
        await self._producer.close()

    def problem(self) -> str | None:
        """For readiness: what is wrong, None when the last delivery worked."""
        return self._producer.problem()

    async def enqueue(self, event: AsyncEvent) -> None:
        """Returns only after acks=all. Raises ServiceException when Kafka does not acknowledge within produce_timeout_s."""
        try:
            await self._producer.send(self._topic, encode(event))
        except ProduceError as error:
            REFUSED.inc()
            raise _not_queued() from error
        ACCEPTED.inc()

    def begin(self, event: AsyncEvent, on_end: Callable[[Exception | None], None]) -> bool:
        """`enqueue` without waiting: on_end gets None or the error. False, and nothing done, if it had to wait first."""

        def ended(error: ProduceError | None) -> None:
            if error is None:
                ACCEPTED.inc()
                on_end(None)
            else:
                REFUSED.inc()
                on_end(_not_queued())

        return self._producer.begin(self._topic, encode(event), ended)


def _not_queued() -> ServiceException:
    return ServiceException("The event could not be queued. Please try again.")
