"""How many cold starts are under way at once: a few for each core, so that a burst does not slow each of its own starts
down beyond the limit of an initialisation. Those that only wait for something (a database, a model) do not hold others up:
while processors are idle, more are let in."""

from __future__ import annotations

import asyncio
import os
from collections import deque

import psutil
from prometheus_client import Gauge

WAITING = Gauge("lambdad_worker_starts_waiting", "Cold starts that wait for others to finish")

PLACES_PER_CORE = 4
"""So few that each may compute for 2.5 s within the limit of 10 s when all of them do."""
PLACES_MIN = 8
LOOK_INTERVAL_S = 0.2
"""How often the processors are looked at while starts wait."""
IDLE_SHARE = 0.15
"""Of all processors' time; with more than this idle, starts are let in beyond the places."""
EXTRA_PER_CORE = 2
"""Starts let in beyond the places by one look."""


class StartQueue:
    """First come, first served. Each `enter` that returned is followed by one `leave`. Who may wait is bounded by the number
    of environments that may exist, and for how long by the deadline that a caller puts around `enter`."""

    def __init__(self, cores: int | None = None) -> None:
        self._cores = cores or os.cpu_count() or 1
        self._places = max(PLACES_MIN, PLACES_PER_CORE * self._cores)
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._seen = (0.0, 0.0)

    @property
    def under_way(self) -> int:
        return self._under_way

    async def enter(self) -> None:
        if self._under_way < self._places:
            self._under_way += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        WAITING.inc()
        if self._look is None:
            self._seen = _processor_seconds()
            self._look_later()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.leave()
            raise
        finally:
            WAITING.dec()

    def leave(self) -> None:
        self._under_way -= 1
        if self._under_way < self._places:
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._under_way += 1
                waiter.set_result(None)
                return

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(LOOK_INTERVAL_S, self._look_at_processors)

    def _look_at_processors(self) -> None:
        self._look = None
        before, self._seen = self._seen, _processor_seconds()
        idle, total = self._seen[0] - before[0], self._seen[1] - before[1]
        if total > 0 and idle / total > IDLE_SHARE:
            for _ in range(EXTRA_PER_CORE * self._cores):
                self._let_in()
        if self._waiting:
            self._look_later()


def _processor_seconds() -> tuple[float, float]:
    """Idle, and all, since the machine started."""
    times = psutil.cpu_times()
    return times.idle, sum(times)
