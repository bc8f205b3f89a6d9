"""Freezing environments between invocations, as AWS does: what a function left running uses no processor then.

Not at once: that would cost a busy function a freeze and a thaw each time. What was not used for one to two intervals is
frozen. What stays frozen is told to rest, which is work: one after another, or those of a burst would together keep the
processors from what starts then.
"""

from __future__ import annotations

import asyncio

from services.worker.environment.environment import Environment
from services.worker.environment.machine import State

INTERVAL_S = 0.05
STEP_MAX = 64
"""Environments frozen in one go, which holds up the worker for about half a millisecond then."""
REST_AFTER_S = 2.0
REST_PAUSE_S = 0.02
"""Between two environments that begin to rest: for each, two processes run for about a millisecond."""


class Freezer:
    """Each environment is watched from its start, and anew when it was thawed."""

    def __init__(self) -> None:
        self._awake: dict[str, Environment] = {}
        self._tired: dict[str, Environment] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None

    def watch(self, environment: Environment) -> None:
        self._tired.pop(environment.id, None)
        self._awake[environment.id] = environment
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._step)

    def forget(self, environment: Environment) -> None:
        """It is about to end, so that resting would be work for nothing. It is still frozen: its end may take its time."""
        if self._tired.get(environment.id) is environment:
            del self._tired[environment.id]

    def close(self) -> None:
        self._awake.clear()
        self._tired.clear()
        for timer in (self._timer, self._rest_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._rest_timer = None

    def _step(self) -> None:
        loop = asyncio.get_running_loop()
        # First of all: one that cannot be frozen does not keep the others from it for ever.
        self._timer = loop.call_later(INTERVAL_S, self._step)
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
                self._tired[environment.id] = environment
        if not self._awake:
            self._timer.cancel()
            self._timer = None
        if self._tired and self._rest_timer is None:
            self._rest_timer = loop.call_later(REST_AFTER_S, self._rest_one)

    def _rest_one(self) -> None:
        """The one that has been frozen for longest is the first."""
        self._rest_timer = None
        loop = asyncio.get_running_loop()
        while self._tired:
            environment = next(iter(self._tired.values()))
            if environment.state is not State.FROZEN:
                del self._tired[environment.id]
                continue
            wait_s = environment.frozen_at + REST_AFTER_S - loop.time()
            self._rest_timer = loop.call_later(max(wait_s, REST_PAUSE_S), self._rest_one)
            if wait_s <= 0:
                del self._tired[environment.id]
                environment.rest()
            return
