"""Feeds the lanes of one mapping from its source: begins them, bounds what they hold, ends those that move away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

from services.poller.mapping.batcher import Batcher
from services.poller.mapping.contract import EventSource, Format, LaneName, Source
from services.poller.mapping.filters import RecordFilter
from services.poller.mapping.lag import LagMeter
from services.poller.mapping.lane import Deliver, Lane, LaneParts
from services.poller.mapping.starts import Starts
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.domain.mappings import EventSourceMapping
from shared.domain.mappings.catalogue import rules_of
from shared.events.supervision import run_until
from shared.telemetry.supervision import keep_running

R = TypeVar("R")

FETCH_WAIT_S = 5.0
WAITING_RECORDS_MAX = 2_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Of all lanes of a mapping together, as their event's JSON; each has an equal share of it."""
LANE_BYTES_MAX = 8 * 1024 * 1024
"""A whole batch and some of the next."""
LANE_BYTES_MIN = 512 * 1024


class Lanes(Generic[R]):
    """A `LaneKeeper` for the source that it feeds from. One life long: `run` once."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        opened: EventSource,
        deliver: Deliver[R],
        lag: LagMeter,
        *,
        starts: Starts,
        drain_s: float,
        hurry: asyncio.Event,
    ) -> None:
        """starts: which `deliver` goes by, too. drain_s: how long what runs may take to end when the mapping stops; no longer
        once there is a hurry.

        Raises InvalidParameterValueException for filters that are none."""
        self._mapping = mapping
        self._source: Source[R] = opened.source
        self._starts = starts
        self._drain_s = drain_s
        self._hurry = hurry
        self._lanes: dict[LaneName, Lane[R]] = {}
        self._tasks: dict[LaneName, asyncio.Task[None]] = {}
        self._lag = lag
        self._placed = asyncio.Event()
        self._stopping = False
        self._parts: LaneParts[R] = self._parts_of(opened.format, deliver)

    def _parts_of(self, record_format: Format[R], deliver: Deliver[R]) -> LaneParts[R]:
        mapping, traits = self._mapping, self._source.traits
        record_filter: RecordFilter[R] | None = None
        if mapping.filters:
            record_filter = RecordFilter(mapping.filters, rules_of(mapping.kind).data_field, record_format.filter_view)

        def make_batcher() -> Batcher[R]:
            return Batcher(
                records_max=mapping.batch_size,
                bytes_max=SYNC_PAYLOAD_BYTES_MAX - record_format.overhead_bytes,
                window_s=mapping.batching_window_s,
                size_of=record_format.size_bytes,
            )

        # What a source would give to another reader meanwhile is not hoarded here.
        records_max = 2 * mapping.batch_size
        if not traits.redelivers:
            records_max = max(WAITING_RECORDS_MAX, records_max)
        return LaneParts(
            self._source,
            traits.ordered,
            self._starts,
            deliver,
            record_filter,
            make_batcher,
            records_max,
            lambda: max(LANE_BYTES_MIN, min(LANE_BYTES_MAX, WAITING_BYTES_MAX // max(1, len(self._lanes)))),
        )

    async def run(self, on_polling: Callable[[], Awaitable[None]], on_read: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled; what runs then gets drain_s to end.

        on_polling: awaited once this reader has its place. on_read: once the source has given what it had.

        Raises what the source raises: it is closed then, and another one may be opened."""
        try:
            await self._source.open(self)
            await self._feed(on_polling, on_read)
        except ExceptionGroup as errors:
            # What ended the feeding, as its kind of error: an engine that went away is no fault of ours.
            raise errors.exceptions[0] from errors
        finally:
            await self._source.close()

    async def _feed(self, on_polling: Callable[[], Awaitable[None]], on_read: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            await self._placed.wait()
            await on_polling()
            group.create_task(keep_running(f"mapping-lag {self._mapping.uuid}", lambda: self._lag.measure(self._source)))
            try:
                await self._fetch(group)
                await on_read()
                while True:
                    await self._fetch(group)
            finally:
                await self._drain()

    async def _fetch(self, group: asyncio.TaskGroup) -> None:
        for name, records in (await self._source.fetch(wait_s=FETCH_WAIT_S)).items():
            self._lane(name, group).add(records)

    async def hold(self) -> None:
        self._starts.forbid()
        await self._starts.idle()

    def place(self, kept: Collection[LaneName]) -> None:
        for name in [name for name in self._lanes if name not in kept]:
            del self._lanes[name]
            self._tasks.pop(name).cancel()
        self._placed.set()
        if not self._stopping:
            self._starts.allow()

    async def _drain(self) -> None:
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await run_until(self._hurry, self.hold())

    def _lane(self, name: LaneName, group: asyncio.TaskGroup) -> Lane[R]:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._parts)
            self._tasks[name] = group.create_task(lane.run())
        return lane
