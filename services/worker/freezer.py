"""Freezing environments between invocations, as AWS does: what a function left running uses no processor then.

Not at once: that would cost a busy function a freeze and a thaw each time. What was not used for one to two intervals is
frozen.
"""

from __future__ import annotations

import asyncio
import logging

from services.worker.environment.environment import Environment
from services.worker.environment.machine import State

log = logging.getLogger("lambdad.worker")

INTERVAL_S = 0.05
STEP_MAX = 64
"""Environments frozen in one go, which holds up the worker for about half a millisecond then."""


class Freezer:
    """Each environment is watched from its start, and anew when it was thawed."""

    def __init__(self) -> None:
        self._awake: dict[str, Environment] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, environment: Environment) -> None:
        self._awake[environment.id] = environment
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._step)

    def close(self) -> None:
        self._awake.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        left = STEP_MAX
        for environment in list(self._awake.values()):
            if environment.busy:
                continue
            if environment.state is not State.IDLE:
                del self._awake[environment.id]
            elif environment.used:
                environment.used = False
            elif left > 0:
                left -= 1
                del self._awake[environment.id]
                environment.freeze()
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._step) if self._awake else None
