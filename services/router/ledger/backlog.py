"""Events that nobody has told of: accepted, and not taken up by any poller yet.

A poller tells what becomes of an event within moments, so there is nothing to do here as long as pollers keep up: then what
they have committed is looked at every few seconds, and that is all. Where they are behind, the event topic is read between
what is settled and what was its end some seconds ago, and what is there gets a row that says queued. Each offset is read once.

Partitions of the event topic are divided among routers as those of the ledger's topic are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Counter

from shared.events.group import GroupReader
from shared.events.kafka import client_arguments
from shared.events.offsets import decode_settled
from shared.events.records import RecordError, decode_event
from shared.events.topics import TopicNames
from shared.ledger.records import EventEntry, Status
from shared.ledger.store import FAILURES, LedgerStore
from shared.settings import Settings

log = logging.getLogger("lambdad.router.ledger")

SEEN = Counter("lambdad_ledger_queued_total", "Events that were read because no poller had told of them yet")

LOOK_S = 2.0
"""Between two looks; what has waited for longer than one and is not told of is read."""
IDLE_LOOK_S = 5.0
READ_MAX = 2_000
READ_WAIT_MS = 1_000
REQUEST_TIMEOUT_MS = 10_000
START_TIMEOUT_S = 30.0
LOOK_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
FETCH_BYTES_MAX = 2 * 1024 * 1024


Unread = tuple[list[tuple[int, int]], int]
"""Half-open ranges of offsets, in order, and the end up to which there are no others."""


class Backlog:
    """Of one router. reader: whose place in the ledger's group says which partitions are this one's."""

    def __init__(self, settings: Settings, reader: GroupReader, store: LedgerStore) -> None:
        names = TopicNames.of(settings.events)
        self._settings = settings
        self._home = settings.home
        self._topic, self._group = names.asynchronous, names.asynchronous
        self._ledger_topic = names.ledger
        self._reader = reader
        self._store = store
        self._read: dict[TopicPartition, int] = {}
        """Below it every event was read here, or is settled."""
        self._ends: dict[TopicPartition, int] = {}
        """As they were at the last look."""
        self._waiting = False
        """Whether there was anything then that nobody had settled or read."""

    async def watch(self) -> None:
        """For ever. Raises KafkaError, OSError or TimeoutError when Kafka is lost: call again."""
        arguments = client_arguments(self._settings.kafka)
        client_id = f"{self._settings.instance or 'router'}-ledger-backlog"
        admin = AIOKafkaAdminClient(**arguments, client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS)
        consumer = AIOKafkaConsumer(
            **arguments,
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await admin.start()
                await consumer.start()
            while True:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    behind = await self._look(admin, consumer)
                with contextlib.suppress(*FAILURES):
                    # What Postgres did not take now is read again at the next look.
                    for partition, (ranges, end) in behind.items():
                        for first, past in ranges:
                            await self._tell(consumer, partition, first, past)
                        self._read[partition] = end
                await asyncio.sleep(LOOK_S if self._waiting else IDLE_LOOK_S)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await consumer.stop()
                    await admin.close()

    async def _look(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> dict[TopicPartition, Unread]:
        """What nobody has settled or read, and was there at the last look."""
        partitions = await self._mine(consumer)
        if not partitions:
            return {}
        committed: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(self._group)
        ends = await consumer.end_offsets(partitions)
        # A topic that was made anew begins at zero again.
        read = {partition: min(self._read.get(partition, 0), ends[partition]) for partition in partitions}
        behind, self._waiting = dict[TopicPartition, Unread](), False
        for partition in partitions:
            known = committed.get(partition)
            settled, metadata = (0, "") if known is None or known.offset < 0 else (known.offset, known.metadata)
            first = max(read[partition], settled)
            end = min(self._ends.get(partition, 0), ends[partition])
            if end > first:
                behind[partition] = list(gaps(first, end, decode_settled(settled, metadata or ""))), end
            self._waiting = self._waiting or ends[partition] > first
        self._read, self._ends = read, ends
        return behind

    async def _mine(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        mine = {partition.partition for partition in self._reader.assignment()}
        known = await consumer._client.fetch_all_metadata()
        numbers = known.partitions_for_topic(self._topic) or set()
        told = len(known.partitions_for_topic(self._ledger_topic) or ()) or 1
        return [TopicPartition(self._topic, number) for number in sorted(numbers) if number % told in mine]

    async def _tell(self, consumer: AIOKafkaConsumer, partition: TopicPartition, first: int, end: int) -> None:
        """Read a range and write its events' rows, some thousand at a time."""
        consumer.assign([partition])
        consumer.seek(partition, first)
        at = first
        while at < end:
            found = await consumer.getmany(partition, timeout_ms=READ_WAIT_MS, max_records=READ_MAX)
            records = found.get(partition)
            if not records:
                # Deleted by age, or a gap in the log: it is looked at again.
                raise TimeoutError(f"{partition} has nothing from {at} on")
            at_ms = time.time_ns() // 1_000_000
            entries = []
            for record in records:
                at = record.offset + 1
                if at > end:
                    break
                try:
                    event = decode_event(record.value or b"")
                except RecordError:
                    continue
                entry = EventEntry(
                    event.event_id,
                    0,
                    event.qualifier,
                    Status.QUEUED,
                    event.accepted_at_ms,
                    min(at_ms, event.accepted_at_ms),
                    partition.partition,
                    record.offset,
                    event.attempts,
                )
                entries.append((entry, event.function_arn(self._home)))
            await self._store.add_queued(entries)
            SEEN.inc(len(entries))


def gaps(first: int, end: int, settled: tuple[tuple[int, int], ...]) -> Iterator[tuple[int, int]]:
    """What of [first, end) is in none of the half-open ranges, which are in order."""
    at = first
    for begin, past in settled:
        if begin >= end:
            break
        if begin > at:
            yield at, begin
        at = max(at, past)
    if at < end:
        yield at, end
