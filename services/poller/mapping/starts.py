"""Which batches of a mapping may run: none begins while lanes move or the mapping stops, no more run at once than its source
allows. A batch that waits for its next attempt does not run meanwhile: what it waits for may never come."""

from __future__ import annotations

import asyncio


class Starts:
    """in_flight_max: None for no bound. Closed at first."""

    def __init__(self, in_flight_max: int | None) -> None:
        self._slots = None if in_flight_max is None else asyncio.Semaphore(in_flight_max)
        self._allowed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = 0

    def allow(self) -> None:
        self._allowed.set()

    def forbid(self) -> None:
        self._allowed.clear()

    async def begin(self) -> None:
        """Returns when a batch may start, which then counts as running until `end`."""
        if self._slots is not None:
            await self._slots.acquire()
        try:
            # Once more after each wait: what was allowed may be forbidden again before the waiter goes on.
            while not self._allowed.is_set():
                await self._allowed.wait()
        except BaseException:
            if self._slots is not None:
                self._slots.release()
            raise
        self._running += 1
        self._idle.clear()

    def end(self) -> None:
        self._running -= 1
        if self._slots is not None:
            self._slots.release()
        if not self._running:
            self._idle.set()

    async def pause(self, wait_s: float) -> None:
        """Of a batch that runs: it does not for so long, and after that until batches may start."""
        self._running -= 1
        if not self._running:
            self._idle.set()
        try:
            await asyncio.sleep(wait_s)
            while not self._allowed.is_set():
                await self._allowed.wait()
        finally:
            self._running += 1
            self._idle.clear()

    async def idle(self) -> None:
        """Returns when no batch runs."""
        while self._running:
            await self._idle.wait()
