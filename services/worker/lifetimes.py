"""How long environments live, however busy they are: as on AWS, each is replaced after some hours.

What an environment was given at its start ends one day (its credentials do), so it has to end before. Not all that were started
together end together: provisioned ones would be missed.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Sequence

LIFETIME_S = 8 * 3600
"""At least; credentials have to last for so long, and for one invocation more."""
LIFETIME_SPREAD_S = 2 * 3600
"""Beyond it, different for each."""
INTERVAL_S = 30.0


def _clock() -> float:
    """Goes on while the host sleeps: what was signed then gets older, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lifetimes:
    """end: is told which environments have lived long enough, each once; a busy one ends after its run. clock: in seconds."""

    def __init__(self, end: Callable[[Sequence[str]], None], clock: Callable[[], float] = _clock) -> None:
        self._end = end
        self._clock = clock
        self._until: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, environment_id: str) -> None:
        self._until[environment_id] = self._clock() + lifetime_s(environment_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._step)

    def forget(self, environment_id: str) -> None:
        self._until.pop(environment_id, None)

    def close(self) -> None:
        self._until.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self.check()
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._step) if self._until else None

    def check(self) -> None:
        """End what has lived long enough."""
        now = self._clock()
        over = [environment_id for environment_id, until in self._until.items() if until <= now]
        for environment_id in over:
            del self._until[environment_id]
        if over:
            self._end(over)


def lifetime_s(environment_id: str) -> float:
    return LIFETIME_S + LIFETIME_SPREAD_S * zlib.crc32(environment_id.encode()) / 2**32
