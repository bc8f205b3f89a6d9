"""Sandboxes that are made alike, ahead of need: as many as are likely to be needed at once (demand.py).

Making one takes a processor for longer than a cold start does. So those that nobody waits for are made one at a time, and not
beside cold starts as long as enough are left.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine, Iterable

from prometheus_client import Counter, Gauge

from services.worker.demand import Demand
from services.worker.sandbox.launch import Launcher
from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.spec import SandboxError
from services.worker.zygotes import Zygote

log = logging.getLogger("lambdad.worker")

TAKEN = Counter("lambdad_worker_sandboxes_taken_total", "Sandboxes given to environments", ["pool", "ready"])
READY = Gauge("lambdad_worker_sandboxes_ready", "Sandboxes that wait for a function", ["pool"])

TAKE_TIMEOUT_S = 60.0
MAKING_MAX = (os.cpu_count() or 2) + 1
"""At once, while somebody waits: one waits for the kernel while the others compute."""
QUIET_S = 0.05
"""So long after a sandbox was taken, others are left to start."""
ENOUGH = 4
"""With fewer left, or less than half of what is to be ready, they are made beside cold starts."""
REVIEW_S = 1.0
"""Between two looks whether fewer would do."""
SPARED_AT_ONCE = 20
"""Sandboxes ended by one such look."""
CLOSED_AT_ONCE = 16
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class RuntimePool:
    """room: how many may be ready, beside what other pools have ready."""

    def __init__(self, recipe: Recipe, zygote: Zygote, launcher: Launcher, demand: Demand, room: Callable[[], int]) -> None:
        self._recipe = recipe
        self._zygote = zygote
        self._launcher = launcher
        self._demand = demand
        self._room = room
        self._loop = asyncio.get_running_loop()
        zygote.when_dead(self._on_zygote_death)
        self._ready: deque[LaunchedSandbox] = deque()
        self._waiting: deque[asyncio.Future[LaunchedSandbox]] = deque()
        self._making = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken_at = -QUIET_S
        self._later: asyncio.TimerHandle | None = None
        self._review: asyncio.TimerHandle | None = None
        self._failures = 0
        self._closed = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def ready_bytes(self) -> int:
        """What those take of the host's memory."""
        return len(self._ready) * self._recipe.waiting_bytes

    async def take(self) -> LaunchedSandbox:
        """Ready at once when there is one. Raises SandboxError."""
        while self._ready:
            sandbox = self._ready.popleft()
            if not sandbox.broken:
                self._took(True)
                return sandbox
            self._spawn(_destroy_all([sandbox]))
        waiter: asyncio.Future[LaunchedSandbox] = self._loop.create_future()
        self._waiting.append(waiter)
        self.refill()
        try:
            async with asyncio.timeout(TAKE_TIMEOUT_S):
                sandbox = await waiter
        except TimeoutError:
            raise SandboxError(f"no {self._recipe.pool} sandbox could be made within {TAKE_TIMEOUT_S:.0f} s") from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._ready.append(waiter.result())
            raise
        self._took(False)
        return sandbox

    def keep(self) -> None:
        """Have the least ready from now on, whether it is used or not."""
        self._demand.lasting = True
        self.refill()

    def expect(self) -> None:
        """One more is likely to be taken soon."""
        self._demand.expect(self._loop.time())
        self.refill()

    def _took(self, ready: bool) -> None:
        TAKEN.labels(self._recipe.pool, "yes" if ready else "no").inc()
        self._taken_at = self._loop.time()
        self._demand.took(self._taken_at)
        self._changed()

    def _changed(self) -> None:
        READY.labels(self._recipe.pool).set(len(self._ready))
        self.refill()

    def refill(self) -> None:
        """Have what is missing made, in the background."""
        if self._closed:
            return
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        for _ in range(min(len(self._waiting), MAKING_MAX) - self._making):
            self._begin()
        now = self._loop.time()
        depth = min(self._demand.depth(now), self._room())
        if depth > self._demand.least and self._review is None:
            self._review = self._loop.call_later(REVIEW_S, self._spare)
        if self._making or self._later is not None or len(self._ready) >= depth:
            return
        quiet_in = self._taken_at + QUIET_S - now
        if quiet_in > 0 and len(self._ready) > min(ENOUGH, depth // 2):
            self._later = self._loop.call_later(quiet_in, self._go_on)
        else:
            self._begin()

    def _go_on(self) -> None:
        self._later = None
        self.refill()

    def _spare(self) -> None:
        """End what is not likely to be needed any more."""
        self._review = None
        surplus = len(self._ready) - min(self._demand.depth(self._loop.time()), self._room())
        if surplus > 0:
            self._spawn(_destroy_all([self._ready.popleft() for _ in range(min(surplus, SPARED_AT_ONCE))]))
        self._changed()

    def _begin(self) -> None:
        self._making += 1
        self._spawn(self._make())

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work, name=f"pool-{self._recipe.pool}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work for the pool %s failed", self._recipe.pool, exc_info=task.exception())

    def _on_zygote_death(self) -> None:
        """Its sandboxes died with it. Those that waited are cleared away, and another zygote makes new ones."""
        self._failures = max(1, self._failures)
        lost = list(self._ready)
        self._ready.clear()
        self._spawn(_destroy_all(lost))
        self._changed()

    async def _make(self) -> None:
        try:
            if self._failures:
                await asyncio.sleep(BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1])
            sandbox = await self._launcher.launch(await self._zygote.started(), self._recipe)
        except (SandboxError, OSError) as error:
            self._failures += 1
            log.error("a sandbox of %s cannot be made: %s", self._recipe.pool, error)
            waiter = self._next_waiter()
            if waiter is not None:
                waiter.set_exception(SandboxError(str(error)))
        else:
            self._failures = 0
            await self._give(sandbox)
        finally:
            self._making -= 1
            self._changed()

    async def _give(self, sandbox: LaunchedSandbox) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(sandbox)
        elif self._closed:
            await sandbox.destroy()
        else:
            self._ready.append(sandbox)

    def _next_waiter(self) -> asyncio.Future[LaunchedSandbox] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    async def close(self) -> None:
        self._closed = True
        for timer in (self._later, self._review):
            if timer is not None:
                timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(SandboxError("the worker is ending"))
        waiting = list(self._ready)
        self._ready.clear()
        await asyncio.gather(*(_destroy_all(waiting[at::CLOSED_AT_ONCE]) for at in range(CLOSED_AT_ONCE)))


async def _destroy_all(sandboxes: Iterable[LaunchedSandbox]) -> None:
    for sandbox in sandboxes:
        try:
            await sandbox.destroy()
        except SandboxError as error:
            log.error("%s", error)
