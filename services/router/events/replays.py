"""Runs replays: the events of an archive that were put between two times are put on its bus again, with the replay's name.

A replay is claimed with a lease, goes on where it was left, and looks after each batch whether somebody has cancelled it. What
was put again but not yet counted when a router dies is put again by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from prometheus_client import Counter

from shared.domain.event_buses import Archive, Replay, ReplayState, bus_name
from shared.events.bus_events import BusEvent, decode_bus_event
from shared.events.bus_queue import BusQueue
from shared.events.kafka import client_arguments
from shared.registry.events import archives, replays
from shared.registry.registry import Registry
from shared.settings import Settings

log = logging.getLogger("lambdad.router")

REPLAYED = Counter("lambdad_bus_events_replayed_total", "Events that replays have put on their bus again")

LOOK_EVERY_S = 0.25
BEGINS_AFTER_S = 1.0
"""A replay, or the end of one that was cancelled, may be seen before it begins: AWS takes minutes."""
LEASE_S = 30.0
BATCH_RECORDS = 500
FETCH_WAIT_MS = 500
KAFKA_TIMEOUT_S = 15.0


class Replays:
    def __init__(self, settings: Settings, registry: Registry, queue: BusQueue) -> None:
        self._settings = settings
        self._registry = registry
        self._queue = queue

    async def run(self) -> None:
        """Until cancelled. Raises ServiceException, KafkaError, TimeoutError: to be run again."""
        while True:
            if not await self.run_one():
                await asyncio.sleep(LOOK_EVERY_S)

    async def run_one(self, *, begins_after_s: float = BEGINS_AFTER_S) -> bool:
        """Whether there was one to run."""
        account_id = self._settings.account_id
        async with self._registry.write() as connection:
            before_ms = _now_ms() - int(begins_after_s * 1_000)
            replay = await replays.claim(connection, account_id, changed_before_ms=before_ms, lease_ms=_lease_ms())
            archive = None if replay is None else await archives.find(connection, replay.home, replay.archive)
        if replay is None:
            return False
        if replay.state is ReplayState.CANCELLING:
            await self._end(replay, ReplayState.CANCELLED)
        elif archive is None:
            await self._end(replay, ReplayState.FAILED, f"Archive {replay.archive} does not exist.")
        else:
            await self._replay(replay, archive)
        return True

    async def _replay(self, replay: Replay, archive: Archive) -> None:
        last_ms: int | None = None
        async with self._reader(archive.topic) as (consumer, partition):
            async with asyncio.timeout(KAFKA_TIMEOUT_S):
                end = (await consumer.end_offsets([partition]))[partition]
                at = replay.offset
                if at is None:
                    found = (await consumer.offsets_for_times({partition: replay.start_ms}))[partition]
                    at = end if found is None else found.offset
            if await self._go_on(replay, at, None) is ReplayState.CANCELLING:
                await self._end(replay, ReplayState.CANCELLED)
                return
            consumer.seek(partition, at)
            while at < end:
                async with asyncio.timeout(KAFKA_TIMEOUT_S):
                    fetched = await consumer.getmany(partition, timeout_ms=FETCH_WAIT_MS, max_records=BATCH_RECORDS)
                records = [record for record in fetched.get(partition, ()) if record.offset < end]
                if not records:
                    async with asyncio.timeout(KAFKA_TIMEOUT_S):
                        at = max(at, await consumer.position(partition))
                    continue
                events = _within(replay, records)
                await self._queue.put([_again(event, replay) for event in events])
                REPLAYED.inc(len(events))
                last_ms = events[-1].ingested_at_ms if events else last_ms
                at = records[-1].offset + 1
                if await self._go_on(replay, at, last_ms) is ReplayState.CANCELLING:
                    await self._end(replay, ReplayState.CANCELLED)
                    return
        await self._end(replay, ReplayState.COMPLETED)

    async def _go_on(self, replay: Replay, at: int, last_ms: int | None) -> ReplayState:
        """Keeps how far it is. -> its state now."""
        kept = {} if last_ms is None else {"last_replayed_ms": last_ms}
        async with self._registry.write() as connection:
            return await replays.progress(
                connection, replay, lease_ms=_lease_ms(), state=ReplayState.RUNNING, offset=at, **kept
            )

    async def _end(self, replay: Replay, state: ReplayState, reason: str | None = None) -> None:
        log.info("replay %s: %s", replay.name, state.value)
        async with self._registry.write() as connection:
            await replays.progress(connection, replay, lease_ms=0, state=state, reason=reason, ended_ms=_now_ms())

    @asynccontextmanager
    async def _reader(self, topic: str) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
        consumer = AIOKafkaConsumer(
            **client_arguments(self._settings.kafka),
            client_id="lambdad-replays",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        partition = TopicPartition(topic, 0)
        try:
            async with asyncio.timeout(KAFKA_TIMEOUT_S):
                await consumer.start()
            consumer.assign([partition])
            yield consumer, partition
        finally:
            async with asyncio.timeout(KAFKA_TIMEOUT_S):
                await consumer.stop()


def _within(replay: Replay, records: Sequence[ConsumerRecord]) -> list[BusEvent]:
    events = (decode_bus_event(record.value or b"") for record in records)
    return [event for event in events if replay.start_ms <= event.ingested_at_ms <= replay.end_ms]


def _again(event: BusEvent, replay: Replay) -> BusEvent:
    return msgspec.structs.replace(
        event,
        bus=bus_name(replay.destination["Arn"]),
        replay=replay.name,
        rules=tuple(replay.destination.get("FilterArns") or ()),
        ingested_at_ms=_now_ms(),
        hops=0,
        revision=0,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _lease_ms() -> int:
    return _now_ms() + int(LEASE_S * 1_000)
