"""A Kafka event source: one consumer of a mapping's group that feeds batches to its function.

The order of a partition is kept: one batch of it is in flight at a time; partitions run beside each other. Offsets are
committed only behind records that are done with.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from services.poller.mapping.batcher import Batcher
from services.poller.mapping.filters import RecordFilter
from services.poller.mapping.kafka_event import EVENT_OVERHEAD_BYTES, size_bound
from shared.domain.errors import LambdadError
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.domain.mappings import EventSourceMapping
from shared.events.group import GroupReader, ReaderOptions, Start

FILTERED = Counter("lambdad_mapping_filtered_total", "Records that no filter of their mapping let through")

FETCH_WAIT_S = 5.0
LOOKUP_TIMEOUT_S = 10.0
BUFFERED_RECORDS_MAX = 2_000
DRAIN_S = 3.0

Deliver = Callable[[str, Sequence[ConsumerRecord]], Awaitable[None]]


class SourceError(LambdadError):
    """The source cannot be read as the mapping says; the text is for the mapping's owner."""


class KafkaSource:
    """Reads a mapping's topics until it is cancelled. deliver: returns when a batch is done with, or is cancelled."""

    def __init__(self, mapping: EventSourceMapping, bootstrap_servers: str, deliver: Deliver) -> None:
        self._mapping = mapping
        self._deliver = deliver
        self._filter = RecordFilter(mapping.filters) if mapping.filters else None
        self._options = ReaderOptions(
            bootstrap_servers=bootstrap_servers,
            group_id=mapping.consumer_group_id,
            client_id=f"lambdad-mapping-{mapping.uuid}",
            start=_start_of(mapping),
            ordered=True,
            drain_s=DRAIN_S,
        )
        self._lanes: dict[TopicPartition, _Lane] = {}

    async def check(self) -> None:
        """Raises SourceError when the cluster does not answer or a topic does not exist."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._options.bootstrap_servers,
            client_id=self._options.client_id,
            request_timeout_ms=int(LOOKUP_TIMEOUT_S * 1_000),
        )
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                await consumer.start()
                known = await consumer.topics()
        except (KafkaError, OSError, TimeoutError):
            raise SourceError(
                "PROBLEM: Connection error. Please check your event source connection configuration. "
                f"No broker answers at {self._options.bootstrap_servers}."
            ) from None
        finally:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                    await consumer.stop()
        for topic in self._mapping.topics:
            if topic not in known:
                raise SourceError(f"PROBLEM: Topic {topic} does not exist in the cluster.")

    async def run(self, on_polling: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled. on_polling: awaited once the group has given this consumer its place. Raises KafkaError."""
        self._lanes.clear()
        async with GroupReader(list(self._mapping.topics), self._options, drain=self._drain) as reader:
            async with asyncio.TaskGroup() as group:
                await reader.joined()
                await on_polling()
                try:
                    while True:
                        fetched = await reader.fetch(wait_s=FETCH_WAIT_S)
                        self._drop_given_away(reader)
                        for partition, records in fetched.items():
                            self._lane(reader, partition, group).add(records)
                finally:
                    for lane in self._lanes.values():
                        lane.stopping = True
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(DRAIN_S):
                            await self._drain()

    def _lane(self, reader: GroupReader, partition: TopicPartition, group: asyncio.TaskGroup) -> _Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            lane = self._lanes[partition] = _Lane(reader, partition, self._mapping, self._filter, self._deliver)
            lane.task = group.create_task(lane.run())
        return lane

    async def _drain(self) -> None:
        """Until no batch is in flight. None is started meanwhile: a lane waits for its place in the group, or is stopping."""
        for lane in list(self._lanes.values()):
            await lane.idle.wait()

    def _drop_given_away(self, reader: GroupReader) -> None:
        mine = reader.assignment()
        for partition in [p for p in self._lanes if p not in mine]:
            lane = self._lanes.pop(partition)
            if lane.task is not None:
                lane.task.cancel()


class _Lane:
    """One partition: what was fetched of it, and the one batch that is in flight."""

    def __init__(
        self,
        reader: GroupReader,
        partition: TopicPartition,
        mapping: EventSourceMapping,
        record_filter: RecordFilter | None,
        deliver: Deliver,
    ) -> None:
        self._reader = reader
        self._partition = partition
        self._name = f"{partition.topic}-{partition.partition}"
        self._filter = record_filter
        self._deliver = deliver
        self._batcher: Batcher[ConsumerRecord] = Batcher(
            records_max=mapping.batch_size,
            bytes_max=SYNC_PAYLOAD_BYTES_MAX - EVENT_OVERHEAD_BYTES,
            window_s=mapping.batching_window_s,
            size_of=size_bound,
        )
        self._buffered_max = max(BUFFERED_RECORDS_MAX, 2 * mapping.batch_size)
        self._more = asyncio.Event()
        self._paused = False
        self.stopping = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.task: asyncio.Task[None] | None = None

    def add(self, records: Sequence[ConsumerRecord]) -> None:
        self._batcher.add(records, time.monotonic())
        self._more.set()
        if len(self._batcher) >= self._buffered_max:
            self._paused = True
            self._reader.pause(self._partition)

    async def run(self) -> None:
        while True:
            batch = await self._next_batch()
            # Not while partitions move: what is started now would be run again by the next owner.
            await self._reader.joined()
            if self.stopping or self._partition not in self._reader.assignment():
                return
            self.idle.clear()
            try:
                await self._run_batch(batch)
            finally:
                self.idle.set()

    async def _run_batch(self, batch: list[ConsumerRecord]) -> None:
        wanted = batch
        if self._filter is not None:
            wanted = [record for record in batch if self._filter.matches(record)]
            FILTERED.inc(len(batch) - len(wanted))
        if wanted:
            await self._deliver(self._name, wanted)
        self._reader.settle(self._partition, batch[-1].offset)

    async def _next_batch(self) -> list[ConsumerRecord]:
        while True:
            now = time.monotonic()
            if batch := self._batcher.take(now):
                if self._paused and len(self._batcher) < self._buffered_max // 2:
                    self._paused = False
                    self._reader.resume(self._partition)
                return batch
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._batcher.due_in_s(now)):
                    await self._more.wait()


def _start_of(mapping: EventSourceMapping) -> Start:
    if mapping.starting_position == "AT_TIMESTAMP":
        return mapping.starting_timestamp_ms or 0
    return "latest" if mapping.starting_position == "LATEST" else "earliest"
