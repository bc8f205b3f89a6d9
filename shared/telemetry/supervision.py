"""How every task that lives as long as its service is run: whatever ends it before its time starts it again.

A failure is logged, counted in `lambdad_task_failures_total` and shown in the service's health until the task has run for a
while again. The pause before each new start grows, up to a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from shared.domain.errors import LambdadError

log = logging.getLogger("lambdad.tasks")

FAILURES = Counter("lambdad_task_failures_total", "Background tasks that failed unforeseen and were started again", ["task"])

RESTART_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
HEALTHY_AFTER_S = 30.0
"""A task that has run for so long is taken for well, whatever happened before."""
FORESEEN: tuple[type[Exception], ...] = (LambdadError, OSError, TimeoutError)
"""What an engine that restarts, or is away, makes of a task: its daily work and not a fault of ours."""

Work = Callable[[], Awaitable[None]]


class _Supervised:
    """One task. ended_badly: how often in a row; failure: the last unforeseen one. started_at: 0.0 while it pauses."""

    __slots__ = ("ended_badly", "essential", "failure", "name", "started_at")

    def __init__(self, name: str, essential: bool) -> None:
        self.name = name
        self.essential = essential
        self.ended_badly = 0
        self.failure: str | None = None
        self.started_at = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()

    def end(self, failure: str | None) -> float:
        """Seconds to pause before the next start."""
        self.ended_badly = 1 if self.is_well() else self.ended_badly + 1
        self.failure, self.started_at = failure, 0.0
        return RESTART_BACKOFF_S[min(self.ended_badly, len(RESTART_BACKOFF_S)) - 1]

    def is_well(self) -> bool:
        return self.started_at > 0.0 and time.monotonic() - self.started_at > HEALTHY_AFTER_S


_tasks: set[_Supervised] = set()


def failing(*, essential: bool | None = None) -> dict[str, str]:
    """Tasks of this process that failed unforeseen and are not known to be well again: name to what went wrong.

    essential: those without which the service does not do its job, or the others; None for both.
    """
    return {
        task.name: f"failed and is started again: {task.failure}"
        for task in sorted(_tasks, key=lambda task: task.name)
        if task.failure is not None and not task.is_well() and essential in (None, task.essential)
    }


async def keep_running(
    name: str,
    work: Work,
    stop: asyncio.Event | None = None,
    *,
    foreseen: tuple[type[Exception], ...] = FORESEEN,
    essential: bool = False,
) -> None:
    """Call `work` again, with a growing pause, whenever it fails, or ends before `stop` is set. Without `stop`, its own end
    is the end. foreseen: errors that are no failure of the task, only a reason to start again."""
    task = _Supervised(name, essential)
    _tasks.add(task)
    try:
        while stop is None or not stop.is_set():
            task.start()
            failure: str | None = None
            try:
                await work()
                if stop is None:
                    return
            except foreseen as error:
                log.warning("%s starts again: %r", name, error)
            except Exception as error:
                FAILURES.labels(name.partition(" ")[0]).inc()
                log.exception("%s failed and starts again", name)
                failure = repr(error)
            if stop is not None and stop.is_set():
                return
            await _pause(task.end(failure), stop)
    finally:
        _tasks.discard(task)


def supervise(
    name: str,
    work: Work,
    stop: asyncio.Event | None = None,
    *,
    foreseen: tuple[type[Exception], ...] = FORESEEN,
    essential: bool = False,
) -> asyncio.Task[None]:
    """`keep_running` as a task, which is its caller's to hold and to cancel."""
    return asyncio.create_task(keep_running(name, work, stop, foreseen=foreseen, essential=essential), name=name)


async def _pause(pause_s: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(pause_s)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await stop.wait()
