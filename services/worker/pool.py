"""Sandboxes made ahead of need: a few ready ones for each pool in use, refilled in the background."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec
from prometheus_client import Counter, Gauge

from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.sandbox.cgroups import CgroupTree
from services.worker.sandbox.host import host_problems
from services.worker.sandbox.launch import Launcher
from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.slot import Slots
from services.worker.sandbox.spec import Sandbox, SandboxError
from services.worker.sandbox.tree_views import TreeViews
from services.worker.sandbox.uids import UidPool
from services.worker.zygotes import Zygote
from shared.domain.errors import ConfigurationError
from shared.domain.limits import MEMORY_MB_DEFAULT
from shared.settings import Settings

log = logging.getLogger("lambdad.worker")

TAKEN = Counter("lambdad_worker_sandboxes_taken_total", "Sandboxes given to environments", ["pool", "ready"])
READY = Gauge("lambdad_worker_sandboxes_ready", "Sandboxes that wait for a function", ["pool"])

TAKE_TIMEOUT_S = 60.0
REFILL_TASKS_MAX = max(2, os.cpu_count() or 2)
REFILL_DELAY_S = 0.01
"""How long a refill waits while nobody needs it: the function that emptied the place is just starting."""
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_UIDS_SPARE = 256
"""Beyond the environments that may exist: sandboxes in the pool, and uids that rest after use."""


class PoolStats(msgspec.Struct, frozen=True):
    """ready: sandboxes that wait for a function, by pool. uids_free: of this worker's slice."""

    ready: dict[str, int]
    zygotes: dict[str, int]
    uids_free: int


class SandboxPool:
    """start, take, close. Raises ConfigurationError at start when this host cannot give a promised layer of isolation."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings = settings.worker
        self._root = root
        self.catalogue = Catalogue(settings.worker)
        self._recipes: dict[str, Recipe] = {}
        self._zygotes: dict[str, Zygote] = {}
        self._pools: dict[str, RuntimePool] = {}
        self._cgroups: CgroupTree | None = None
        self._uids: UidPool | None = None
        self._views: TreeViews | None = None
        self._launcher: Launcher | None = None

    @property
    def memory_mb(self) -> int:
        """What all sandboxes may use together, once started."""
        assert self._cgroups is not None
        return self._cgroups.memory_bytes // 1024**2

    async def start(self) -> None:
        if os.geteuid() != 0:
            raise ConfigurationError("the worker must run as root: it makes namespaces and changes users for each function")
        if problems := host_problems():
            raise ConfigurationError("\n".join(problems))
        memory_mb = self._settings.memory_mb_max
        self._cgroups = CgroupTree(
            self._settings.allow_missing_limits,
            memory_bytes=None if memory_mb is None else memory_mb * 1024**2,
            processes=self._settings.processes_max,
        )
        wanted = self._settings.environments_max + _UIDS_SPARE
        self._uids = UidPool(self._settings.uid_first, self._settings.uid_count, wanted)
        try:
            self._views = TreeViews(self._root)
        except OSError as error:
            raise ConfigurationError(f"functions cannot be given files of their own (overlayfs): {error}") from error
        self._launcher = Launcher(Slots(self._cgroups, self._uids), self._views)
        for runtime in self._settings.prestart_runtimes:
            try:
                self._pool(runtime, MEMORY_MB_DEFAULT).refill()
            except UnsupportedRuntimeError as error:
                log.warning("%s is not started ahead: %s", runtime, error)

    async def close(self) -> None:
        """Destroy what waits. Sandboxes that were taken are their takers' to destroy, before this."""
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()
        for zygote in self._zygotes.values():
            await zygote.stop()
        self._zygotes.clear()
        if self._views is not None:
            self._views.close()
        if self._uids is not None:
            self._uids.close()
        if self._cgroups is not None:
            self._cgroups.close()

    def supports(self, runtime: str) -> bool:
        return self.catalogue.supports(runtime)

    async def take(self, runtime: str, memory_mb: int = MEMORY_MB_DEFAULT) -> Sandbox:
        """A sandbox for one environment, ready at once when the pool has one. Raises UnsupportedRuntimeError, SandboxError."""
        return await self._pool(runtime, memory_mb).take()

    def stats(self) -> PoolStats:
        return PoolStats(
            ready={name: pool.ready for name, pool in self._pools.items()},
            zygotes={name: zygote.pid for name, zygote in self._zygotes.items()},
            uids_free=0 if self._uids is None else self._uids.free,
        )

    def _pool(self, runtime: str, memory_mb: int) -> RuntimePool:
        family = self.catalogue.family(runtime)
        name = family.pool(runtime)
        if name not in self._recipes:
            self._recipes[name] = family.recipe(runtime)
        recipe = self._recipes[name].for_memory(memory_mb)
        pool = self._pools.get(recipe.pool)
        if pool is None:
            if self._launcher is None:
                raise SandboxError("the pool is not started")
            if name not in self._zygotes:
                self._zygotes[name] = Zygote(self._recipes[name])
            pool = RuntimePool(recipe, self._zygotes[name], self._launcher, self._settings.pool_size)
            self._pools[recipe.pool] = pool
        return pool


class RuntimePool:
    """Sandboxes that are made alike."""

    def __init__(self, recipe: Recipe, zygote: Zygote, launcher: Launcher, size: int) -> None:
        self._recipe = recipe
        self._zygote = zygote
        self._launcher = launcher
        self._size = size
        zygote.when_dead(self._on_zygote_death)
        self._ready: deque[LaunchedSandbox] = deque()
        self._waiting: deque[asyncio.Future[LaunchedSandbox]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._closed = False

    @property
    def ready(self) -> int:
        return len(self._ready)

    async def take(self) -> LaunchedSandbox:
        while self._ready:
            sandbox = self._ready.popleft()
            if sandbox.broken:
                await sandbox.destroy()
                continue
            self._took(True)
            return sandbox
        waiter: asyncio.Future[LaunchedSandbox] = asyncio.get_running_loop().create_future()
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

    def _took(self, ready: bool) -> None:
        TAKEN.labels(self._recipe.pool, "yes" if ready else "no").inc()
        READY.labels(self._recipe.pool).set(len(self._ready))
        self.refill()

    def refill(self) -> None:
        """Start making what is missing, in the background."""
        self._waiting = deque(waiter for waiter in self._waiting if not waiter.done())
        missing = self._size + len(self._waiting) - len(self._ready) - len(self._tasks)
        while missing > 0 and len(self._tasks) < REFILL_TASKS_MAX and not self._closed:
            task = asyncio.get_running_loop().create_task(self._make(), name=f"refill-{self._recipe.pool}")
            self._tasks.add(task)
            task.add_done_callback(self._made)
            missing -= 1

    def _made(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        READY.labels(self._recipe.pool).set(len(self._ready))
        if not task.cancelled() and task.exception() is not None:
            log.error("a refill of %s failed", self._recipe.pool, exc_info=task.exception())
        self.refill()

    def _on_zygote_death(self) -> None:
        """Its sandboxes died with it. Those that waited are cleared away, and another zygote makes new ones."""
        self._failures = max(1, self._failures)
        lost = list(self._ready)
        self._ready.clear()
        task = asyncio.get_running_loop().create_task(_destroy_all(lost), name=f"clear-{self._recipe.pool}")
        self._tasks.add(task)
        task.add_done_callback(self._made)

    async def _make(self) -> None:
        if not self._waiting:
            await asyncio.sleep(REFILL_DELAY_S)
        if self._failures:
            await asyncio.sleep(BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1])
        try:
            sandbox = await self._launcher.launch(await self._zygote.started(), self._recipe)
        except (SandboxError, OSError) as error:
            self._failures += 1
            log.error("a sandbox of %s cannot be made: %s", self._recipe.pool, error)
            while self._waiting:
                waiter = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_exception(SandboxError(str(error)))
                    return
            return
        self._failures = 0
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(sandbox)
                return
        if self._closed:
            await sandbox.destroy()
        else:
            self._ready.append(sandbox)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(SandboxError("the worker is ending"))
        await _destroy_all(self._ready)
        self._ready.clear()


async def _destroy_all(sandboxes: Iterable[LaunchedSandbox]) -> None:
    for sandbox in sandboxes:
        try:
            await sandbox.destroy()
        except SandboxError as error:
            log.error("%s", error)
