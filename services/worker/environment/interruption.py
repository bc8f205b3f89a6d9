"""Ending what a runtime does before it ends by itself: its time is up, or its caller went away."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable

from services.worker.sandbox.spec import Sandbox, SandboxError

log = logging.getLogger("lambdad.worker")

KILL_GRACE_S = 2.0
"""How long a killed runtime may take to be reported as ended before the sandbox counts as broken."""


class Interruption(enum.Enum):
    """Why the platform killed a runtime."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class Interrupter:
    """Of one environment. reason: why its runtime was killed; None while it was not, for what runs now. waiting: who waits for
    the runtime, None for nobody: only then there is something to interrupt. give_up: gets who waits when the sandbox does not
    report the end of a runtime that was killed."""

    __slots__ = ("_environment_id", "_give_up", "_killing", "_loop", "_sandbox", "reason", "waiting")

    def __init__(self, environment_id: str, give_up: Callable[[object], None]) -> None:
        self._environment_id = environment_id
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._sandbox: Sandbox | None = None
        self._killing: asyncio.Task[None] | None = None
        self.reason: Interruption | None = None
        self.waiting: object | None = None

    @property
    def is_killing(self) -> bool:
        return self._killing is not None

    def guard(self, sandbox: Sandbox) -> None:
        """Whose runtime it is that may be killed from now on."""
        self._sandbox = sandbox

    def after(self, limit_s: float) -> asyncio.TimerHandle:
        """Interrupt what waits then, unless the handle is cancelled before."""
        return self._loop.call_later(limit_s, self.interrupt, Interruption.TIMEOUT)

    def interrupt(self, reason: Interruption) -> None:
        """Kill the runtime, if anybody waits for it. The first reason counts."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._sandbox is not None and self.waiting is not None:
            self._killing = self._loop.create_task(self._kill(self._sandbox), name=f"kill-{self._environment_id}")

    async def killed(self) -> None:
        """Wait until a kill under way is over, so that a fresh runtime is not hit by it."""
        killing, self._killing = self._killing, None
        if killing is not None:
            await killing

    async def _kill(self, sandbox: Sandbox) -> None:
        """Kill the runtime, which makes the sandbox answer; one that does not is given up after a grace. Never raises."""
        waiting = self.waiting
        try:
            async with asyncio.timeout(KILL_GRACE_S):
                await sandbox.kill_runtime()
        except (SandboxError, TimeoutError) as error:
            log.error("environment %s could not kill its runtime: %s", self._environment_id, error or "it took too long")
        except Exception:
            log.exception("environment %s could not kill its runtime", self._environment_id)
        if waiting is not None and self.waiting is waiting:
            self._loop.call_later(KILL_GRACE_S, self._check, waiting)

    def _check(self, waiting: object) -> None:
        if self.waiting is waiting:
            self._give_up(waiting)
