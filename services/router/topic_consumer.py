"""The consumer that every part of the router is: records of one topic, handled at the same time within bounds, settled when
they are done with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition
from prometheus_client import Counter

from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.records import RecordError
from shared.events.supervision import run_until
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.router")

UNREADABLE = Counter("lambdad_router_unreadable_total", "Records that the router could not read and set aside", ["topic"])

IN_FLIGHT_MAX = 1_000
IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
FETCH_WAIT_S = 5.0
DRAIN_S = 4.0
CANCEL_S = 1.0

Handle = Callable[[bytes], Awaitable[None]]
"""Returns when a record is done with or what is left of it is durable elsewhere. Raises RecordError for one that cannot be
read, which is set aside; after any other one the record stays unsettled and comes again with the partition's next owner."""


class TopicConsumer:
    """One member of the group that reads a topic of the cluster's own; the group has the topic's name. Handlers begin in the
    order of a partition and run beside each other."""

    def __init__(
        self, settings: Settings, topic: str, producer: BatchingProducer, handle: Handle, *, forget: bool = False
    ) -> None:
        """forget: whether nobody looks at a record that is done with."""
        self._topic = topic
        self._undeliverable = TopicNames.of(settings.events).undeliverable
        self._producer = producer
        self._handle = handle
        self._options = ReaderOptions(
            cluster=settings.kafka,
            group_id=topic,
            client_id=f"{settings.instance or 'router'}-{topic.rpartition('.')[2]}",
            forget=forget,
        )
        self._jobs: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._room = asyncio.Event()
        self._reader: GroupReader | None = None

    def problem(self) -> str | None:
        """For readiness: None while this router has its place in the group."""
        return None if self._reader is not None and self._reader.is_ready() else "has no place in the consumer group"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises KafkaError when the group is lost: call again."""
        async with GroupReader([self._topic], self._options) as reader:
            self._reader = reader
            try:
                await run_until(stop, self._fetch_for_ever(reader))
            finally:
                await self._drain()
                self._reader = None

    async def _fetch_for_ever(self, reader: GroupReader) -> None:
        while True:
            for partition, records in (await reader.fetch(wait_s=FETCH_WAIT_S)).items():
                for record in records:
                    while len(self._jobs) >= IN_FLIGHT_MAX or self._bytes >= IN_FLIGHT_BYTES_MAX:
                        self._room.clear()
                        await self._room.wait()
                    value = record.value or b""
                    self._bytes += len(value)
                    job = asyncio.create_task(self._settle(reader, partition, record.offset, value))
                    self._jobs.add(job)
                    job.add_done_callback(self._ended)

    async def _settle(self, reader: GroupReader, partition: TopicPartition, offset: int, value: bytes) -> None:
        try:
            await self._handle_or_set_aside(partition, offset, value)
            reader.settle(partition, offset)
        except Exception:
            log.exception("record %s@%d was left unsettled", partition, offset)
        finally:
            self._bytes -= len(value)

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        self._room.set()

    async def _handle_or_set_aside(self, partition: TopicPartition, offset: int, value: bytes) -> None:
        try:
            await self._handle(value)
        except RecordError as error:
            UNREADABLE.labels(self._topic).inc()
            log.error("record %s@%d is set aside: %s", partition, offset, error)
            await self._producer.persist(self._undeliverable, value, headers=(("reason", str(error).encode()),))

    async def _drain(self) -> None:
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=DRAIN_S)
        left = list(self._jobs)
        for job in left:
            job.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_S)
