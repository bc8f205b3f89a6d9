"""One lane of a mapping's source: what was fetched of it and waits, and the batches of it that run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec
from prometheus_client import Counter

from services.poller.mapping.batcher import Batcher
from services.poller.mapping.contract import LaneName, Source
from services.poller.mapping.filters import RecordFilter
from services.poller.mapping.starts import Starts
from shared.domain.errors import LambdadError

log = logging.getLogger("lambdad.poller.mapping")

R = TypeVar("R")

FILTERED = Counter("lambdad_mapping_filtered_total", "Records that no filter of their mapping let through")
FAILED = Counter("lambdad_mapping_lane_failures_total", "Batches that failed here, not in their function")
FAILURE_PAUSE_S = (0.5, 1.0, 2.0, 5.0, 10.0)

Deliver = Callable[[LaneName, Sequence[R]], Awaitable[list[R]]]


class LaneParts(msgspec.Struct, Generic[R], frozen=True):
    """What the lanes of a mapping have in common. deliver: what is left of a batch, to be fetched again. records_max: how many
    may wait in a lane. bytes_max: how many bytes of them, now."""

    source: Source[R]
    ordered: bool
    starts: Starts
    deliver: Deliver[R]
    record_filter: RecordFilter[R] | None
    make_batcher: Callable[[], Batcher[R]]
    records_max: int
    bytes_max: Callable[[], int]


class Lane(Generic[R]):
    """Fed by `add` while `run` runs; when that is cancelled, what waits and what runs is forgotten and not settled."""

    def __init__(self, name: LaneName, parts: LaneParts[R]) -> None:
        self.name = name
        self._parts = parts
        self._source = parts.source
        self._batcher = parts.make_batcher()
        self._more = asyncio.Event()
        self._paused = False
        self._failures = 0

    def add(self, records: Sequence[R]) -> None:
        self._batcher.add(records, time.monotonic())
        self._more.set()
        if len(self._batcher) >= self._parts.records_max or self._batcher.waiting_bytes >= self._parts.bytes_max():
            self._paused = True
            self._source.pause(self.name)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as batches:
            while True:
                batch = await self._next_batch()
                await self._parts.starts.begin()
                if self._parts.ordered:
                    try:
                        await self._run_batch(batch)
                    finally:
                        self._parts.starts.end()
                else:
                    running = batches.create_task(self._run_batch(batch))
                    # Not within it: a task that is cancelled before its first step runs nothing of itself.
                    running.add_done_callback(lambda _: self._parts.starts.end())

    async def _next_batch(self) -> list[R]:
        while True:
            now = time.monotonic()
            # A lane that holds all it may hold gets nothing that its batch could wait for.
            if batch := self._batcher.take(now, early=self._paused):
                self._go_on_fetching()
                return batch
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._batcher.due_in_s(now)):
                    await self._more.wait()

    def _go_on_fetching(self) -> None:
        few = len(self._batcher) < self._parts.records_max // 2
        if self._paused and few and self._batcher.waiting_bytes < self._parts.bytes_max() // 2:
            self._paused = False
            self._source.resume(self.name)

    async def _run_batch(self, batch: list[R]) -> None:
        try:
            wanted = self._filtered(batch)
            left = await self._parts.deliver(self.name, wanted) if wanted else []
        except Exception as error:
            await self._fetch_again(batch, error)
            return
        self._failures = 0
        if not left:
            self._source.settle(self.name, batch)
            return
        again = set(map(id, left))
        if done := [record for record in batch if id(record) not in again]:
            self._source.settle(self.name, done)
        self._give_back(left)

    def _filtered(self, batch: list[R]) -> list[R]:
        record_filter = self._parts.record_filter
        if record_filter is None:
            return batch
        wanted = [record for record in batch if record_filter.matches(record)]
        FILTERED.inc(len(batch) - len(wanted))
        return wanted

    async def _fetch_again(self, batch: list[R], error: Exception) -> None:
        """Nothing is known to be done with: this lane begins again with the batch, the others go on."""
        FAILED.inc()
        foreseen = isinstance(error, LambdadError | OSError | TimeoutError)
        log.error("a batch of %s failed here and is fetched again: %r", self.name, error, exc_info=None if foreseen else error)
        self._failures += 1
        await self._parts.starts.pause(FAILURE_PAUSE_S[min(self._failures, len(FAILURE_PAUSE_S)) - 1])
        self._give_back(batch)

    def _give_back(self, records: list[R]) -> None:
        """Where order counts, what waits behind them may not be run before they come again."""
        if self._parts.ordered:
            records = records + self._batcher.clear()
            self._go_on_fetching()
        self._source.seek(self.name, records)
