"""Who may try now: places shared by all targets so that none can take them from the others. No I/O.

A target may hold as many places as are free besides (the dynamic thresholds of Choudhury and Hahne, "Dynamic queue length
thresholds for shared-memory packet switches", 1998): alone it has half of them, and some are left for whoever comes next.
"""

from __future__ import annotations

import asyncio
from collections import deque

TRYING_MAX = 1_000
TRYING_BYTES_MAX = 128 * 1024 * 1024
SLOW_S = 0.5
"""A target whose last try took longer is not waited for."""
WAIT_S_MAX = 1.0


class _Target:
    __slots__ = ("last_s", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.last_s = 0.0
        self.waiting: deque[tuple[asyncio.Future[None], int]] = deque()


class Places:
    """Take one before a try and leave it after it."""

    def __init__(self, trying_max: int = TRYING_MAX, bytes_max: int = TRYING_BYTES_MAX) -> None:
        self._free = trying_max
        self._bytes_left = bytes_max
        self._targets: dict[str, _Target] = {}
        self._loop = asyncio.get_running_loop()

    async def take(self, target: str, size_bytes: int) -> float | None:
        """The time at which the place was had, for `leave`; None where the target has as many as it may and is slow."""
        state = self._targets.setdefault(target, _Target())
        if not state.waiting and self._may(state):
            self._grant(state, size_bytes)
        elif state.last_s > SLOW_S or not await self._wait(target, state, size_bytes):
            return None
        return self._loop.time()

    def leave(self, target: str, size_bytes: int, since_s: float) -> None:
        state = self._targets[target]
        state.last_s = self._loop.time() - since_s
        self._give_back(target, state, size_bytes)

    def _may(self, state: _Target) -> bool:
        # One try at a time is always allowed: how many targets there are is bounded by what makers hold.
        return state.running == 0 or (state.running < self._free and self._bytes_left > 0)

    def _grant(self, state: _Target, size_bytes: int) -> None:
        state.running += 1
        self._free -= 1
        self._bytes_left -= size_bytes

    def _give_back(self, target: str, state: _Target, size_bytes: int) -> None:
        state.running -= 1
        self._free += 1
        self._bytes_left += size_bytes
        while state.waiting and self._may(state):
            turn, size = state.waiting.popleft()
            if not turn.done():
                self._grant(state, size)
                turn.set_result(None)
        if not state.running and not state.waiting:
            del self._targets[target]

    async def _wait(self, target: str, state: _Target, size_bytes: int) -> bool:
        """In line behind those who came before. Whether a place was had."""
        turn: asyncio.Future[None] = self._loop.create_future()
        state.waiting.append((turn, size_bytes))
        try:
            await asyncio.wait((turn,), timeout=WAIT_S_MAX)
        except BaseException:
            if turn.done():
                self._give_back(target, state, size_bytes)
            else:
                turn.cancel()
            raise
        if turn.done():
            return True
        turn.cancel()
        state.last_s = WAIT_S_MAX
        return False
