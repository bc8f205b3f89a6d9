"""The consumer of the delay tiers: holds each tier's head until it is due, then sends it back where it belongs.

One consumer serves all tiers. It waits for the earliest due time or for new records, whichever comes first; it never polls.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Iterable

from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import Counter

from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.supervision import run_until
from shared.events.tiers import RETURN_TOPIC_HEADER
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.delays")

RETURNED = Counter("lambdad_delay_returned_total", "Records that left a delay tier", ["tier"])

WAIT_S_MAX = 5.0
RETURNS_AT_ONCE_MAX = 500
HOLDING_FETCH_WAIT_MS = 250
IDLE_FETCH_WAIT_MS = 2_500


class DelayConsumer:
    """One member of the group that empties the tiers."""

    def __init__(self, settings: Settings, producer: BatchingProducer) -> None:
        self._names = TopicNames.of(settings.events)
        self._delay_s = self._names.delays()
        self._producer = producer
        self._options = ReaderOptions(
            cluster=settings.kafka,
            group_id=f"{settings.events.topic_prefix}.delays",
            client_id=f"{settings.instance or 'poller'}-delays",
            fetch_wait_ms=IDLE_FETCH_WAIT_MS,
            forget=True,
        )
        self._held: dict[TopicPartition, deque[ConsumerRecord]] = {}
        self._reader: GroupReader | None = None

    def problem(self) -> str | None:
        """For readiness: None while this poller has its place in the group."""
        return None if self._reader is not None and self._reader.is_ready() else "has no place in the consumer group"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises KafkaError when the group is lost: call again."""
        self._held.clear()
        async with GroupReader(list(self._delay_s), self._options) as reader:
            self._reader = reader
            try:
                await run_until(stop, self._serve(reader))
            finally:
                self._reader = None

    async def _serve(self, reader: GroupReader) -> None:
        while True:
            self._forget_given_away(reader)
            # A tier whose head is held is paused; when it is let go, its next fetch waits for the one that is in flight.
            reader.wait_when_idle(HOLDING_FETCH_WAIT_MS if self._held else IDLE_FETCH_WAIT_MS)
            for partition, records in (await reader.fetch(wait_s=self._wait_s())).items():
                # What is held is enough to know the next due time: the rest stays in Kafka until it is gone.
                waiting = self._held.setdefault(partition, deque())
                while waiting and waiting[-1].offset >= records[0].offset:
                    # The partition went away and came back with what was held for it.
                    waiting.pop()
                waiting.extend(records)
                reader.pause(partition)
            for partition, waiting in list(self._held.items()):
                await self._return_due(reader, partition, waiting)
                if not waiting:
                    del self._held[partition]
                    reader.resume(partition)

    async def _return_due(self, reader: GroupReader, partition: TopicPartition, waiting: deque[ConsumerRecord]) -> None:
        now_ms = time.time_ns() // 1_000_000
        latest_ms = now_ms - self._delay_s[partition.topic] * 1_000
        while waiting and waiting[0].timestamp <= latest_ms:
            due = head_until(waiting, latest_ms)
            async with asyncio.TaskGroup() as tasks:
                for record in due:
                    tasks.create_task(self._return(record))
            for record in due:
                waiting.popleft()
                reader.settle(partition, record.offset)
            RETURNED.labels(str(self._delay_s[partition.topic])).inc(len(due))

    async def _return(self, record: ConsumerRecord) -> None:
        """Write the record to its topic; returns when Kafka has it."""
        topic = next((value.decode() for name, value in record.headers if name == RETURN_TOPIC_HEADER), None)
        if topic is None:
            log.error("a record of %s names no topic to go back to; it is set aside", record.topic)
            topic = self._names.undeliverable
        await self._producer.persist(topic, record.value)

    def _wait_s(self) -> float:
        """Seconds until the earliest head is due, at most WAIT_S_MAX."""
        heads = [waiting[0].timestamp + self._delay_s[partition.topic] * 1_000 for partition, waiting in self._held.items()]
        if not heads:
            return WAIT_S_MAX
        return float(min(WAIT_S_MAX, max(0.001, min(heads) / 1_000 - time.time())))

    def _forget_given_away(self, reader: GroupReader) -> None:
        mine = reader.assignment()
        for partition in [p for p in self._held if p not in mine]:
            del self._held[partition]


def head_until(waiting: Iterable[ConsumerRecord], latest_ms: int) -> list[ConsumerRecord]:
    """The first of what waits, RETURNS_AT_ONCE_MAX at most, as far as all of them were written by then. Those who write to a
    tier have clocks and batches of their own: behind one that is not due there may be one that is, which waits for it."""
    first = itertools.islice(waiting, RETURNS_AT_ONCE_MAX)
    return list(itertools.takewhile(lambda record: record.timestamp <= latest_ms, first))
