"""When the memory that all functions of a worker may have together runs out, idle environments go before the kernel ends one
that runs: it would choose by size alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec
from prometheus_client import Counter

log = logging.getLogger("lambdad.worker")

STOPPED = Counter("lambdad_worker_environments_stopped_for_memory_total", "Idle environments stopped for want of memory")
INTERVAL_S = 0.25
HIGH = 0.9
"""Of what all functions may have: with more in use, idle environments are stopped."""
LOW = 0.8
"""As many as it takes to come down to this."""
STOPPED_AT_ONCE_MAX = 32


class Idle(msgspec.Struct, frozen=True):
    """An environment that nobody uses. since: by one clock for all. held_bytes: what it has in memory, about."""

    id: str
    since: float
    held_bytes: int
    provisioned: bool


def victims(idle: Iterable[Idle], excess_bytes: int) -> list[str]:
    """Who goes so that so much is free: who was not used for the longest time first, and provisioned ones after all others.
    What runs or starts is nobody's victim, and so is not asked about here."""
    found: list[str] = []
    for each in sorted(idle, key=lambda each: (each.provisioned, each.since)):
        if excess_bytes <= 0 or len(found) == STOPPED_AT_ONCE_MAX:
            break
        found.append(each.id)
        excess_bytes -= each.held_bytes
    return found


class MemoryPressure:
    """used: bytes in use by all functions together, without what can be reclaimed if it is more than the number given; raises
    OSError. idle: every environment that may go. stop: ends those."""

    def __init__(
        self,
        bound_bytes: int,
        used: Callable[[int], int],
        idle: Callable[[], Iterable[Idle]],
        stop: Callable[[Sequence[str]], None],
    ) -> None:
        self._high, self._low = int(bound_bytes * HIGH), int(bound_bytes * LOW)
        self._used = used
        self._idle = idle
        self._stop = stop

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.check()

    def check(self) -> None:
        try:
            used = self._used(self._high)
        except OSError as error:
            log.warning("the memory of all functions cannot be read: %s", error)
            return
        if used <= self._high:
            return
        chosen = victims(self._idle(), used - self._low)
        if chosen:
            STOPPED.inc(len(chosen))
            log.warning("functions use %d MB: %d idle environments are stopped", used // 1024**2, len(chosen))
            self._stop(chosen)
