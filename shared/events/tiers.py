"""Constant-delay tier topics: where an event waits that cannot go on now.

Every record of a tier waits equally long, so the head of the topic is always the next one due and nothing but Kafka has to
remember it. A header names the topic that the record goes back to.
"""

from __future__ import annotations

import bisect

from shared.events.producer import BatchingProducer
from shared.events.topics import TopicNames
from shared.settings import EventSettings

RETURN_TOPIC_HEADER = "to"


class DelayTiers:
    """Puts records into the tier of their delay."""

    def __init__(self, settings: EventSettings, producer: BatchingProducer) -> None:
        self._names = TopicNames.of(settings)
        self._retries_s = settings.retry_delays_s
        self._backoffs_s = settings.backoff_delays_s
        self._producer = producer

    def retry_delay_s(self, attempts: int) -> int:
        """The wait after the function failed for the `attempts`-th time (1 for the first)."""
        return self._retries_s[min(attempts, len(self._retries_s)) - 1]

    def backoff_delay_s(self, backoffs: int) -> int:
        """The wait of an event that could not run and was put back `backoffs` times before."""
        return self._backoffs_s[min(backoffs, len(self._backoffs_s) - 1)]

    def longest_within(self, seconds: float) -> int:
        """The longest delay that there is a tier for and that does not exceed `seconds`; the shortest if none."""
        delays = self._names.delays_s
        return delays[max(0, bisect.bisect_right(delays, seconds) - 1)]

    async def put(self, delay_s: int, return_topic: str, value: bytes) -> None:
        """Returns after acks=all, however long that takes. delay_s: one that there is a tier for."""
        await self._producer.persist(self._names.delay(delay_s), value, headers=((RETURN_TOPIC_HEADER, return_topic.encode()),))
