"""How much one sandbox may make the worker do: what its processes send (frames, calls, log) is read by the one event loop that
serves every function, and costs the function nothing.

Counted in steps of about a microsecond of that loop. An invocation brings the steps that it takes. Whatever a sandbox sends
beyond that is held to a rate, for itself and for all of them together; what is over it is not read, so that its sender waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

INVOCATION_STEPS = 4_000
"""Six megabytes in and six out, in the small pieces of a stream."""
STEPS_A_SECOND, STEPS_SAVED_MAX = 20_000.0, 10_000.0
ALL_STEPS_A_SECOND, ALL_STEPS_SAVED_MAX = 100_000.0, 20_000.0
AT_ONCE_STEPS = 500
"""So many are granted at a time: others have their turn of the loop in between."""

# What things cost.
FRAME_STEPS, READ_STEPS, REQUEST_STEPS, HEADER_STEPS, PIECE_STEPS, CONNECTION_STEPS = 3, 10, 25, 1, 1, 100
BYTES_A_STEP, LOG_BYTES_A_STEP, THROWN_BYTES_A_STEP = 4_096, 512, 8_192
"""Bytes that only pass; bytes whose lines are counted; bytes that go no further."""


class Saved:
    """Steps that are saved up at a rate, up to a bound."""

    __slots__ = ("_at", "_loop", "_rate", "_saved", "_saved_max")

    def __init__(self, rate: float, saved_max: float) -> None:
        self._rate = rate
        self._saved = self._saved_max = saved_max
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time()

    def missing_s(self, steps: float) -> float:
        """How long until there are so many."""
        now = self._loop.time()
        self._saved = min(self._saved_max, self._saved + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (steps - self._saved) / self._rate)

    def take(self, steps: float) -> None:
        self._saved -= steps


class WorkBudget:
    """Of one sandbox. all_saved: of all sandboxes of the worker."""

    __slots__ = ("_all", "_left", "_loop", "_own", "_timer", "_waiting")

    def __init__(self, all_saved: Saved) -> None:
        self._loop = asyncio.get_running_loop()
        self._own = Saved(STEPS_A_SECOND, STEPS_SAVED_MAX)
        self._all = all_saved
        self._left = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def invoked(self) -> None:
        """An invocation begins, and brings what it takes; what the last one left is gone."""
        if self._left < INVOCATION_STEPS:
            self._left = INVOCATION_STEPS
        if self._waiting:
            self._resume()

    def spend(self, steps: int) -> bool:
        """It is done already. False when no more may be: whoever reads for the sandbox stops, and calls `wait`."""
        self._left -= steps
        return self._left > 0 or self._granted_s() == 0.0

    def is_over(self) -> bool:
        return self._left <= 0 and self._granted_s() > 0.0

    def wait(self, resume: Callable[[], None]) -> None:
        """resume is called, once, when there are steps again."""
        if resume not in self._waiting:
            self._waiting.append(resume)
        if self._timer is None:
            self._timer = self._loop.call_later(self._granted_s(), self._on_timer)

    def close(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _granted_s(self) -> float:
        """0.0 when steps are there, or were granted just now; otherwise how long that takes."""
        if self._left > 0:
            return 0.0
        wanted = AT_ONCE_STEPS - self._left
        missing_s = max(self._own.missing_s(wanted), self._all.missing_s(wanted))
        if missing_s == 0.0:
            self._own.take(wanted)
            self._all.take(wanted)
            self._left += wanted
        return missing_s

    def _on_timer(self) -> None:
        self._timer = None
        self._resume()

    def _resume(self) -> None:
        """Whoever has waited longest is first, as far as the steps go."""
        while self._waiting and not self.is_over():
            self._waiting.popleft()()
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(self._granted_s(), self._on_timer)


def all_sandboxes() -> Saved:
    """What every sandbox of a worker may make it do, together."""
    return Saved(ALL_STEPS_A_SECOND, ALL_STEPS_SAVED_MAX)
