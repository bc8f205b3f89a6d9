"""All that one worker makes sandboxes of, and a pool of ready ones for each kind in use."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from services.worker.demand import Demand
from services.worker.rootless import ROOTLESS
from services.worker.runtime_pool import RuntimePool
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.sandbox import namespaces
from services.worker.sandbox.cgroups import FACILITIES, CgroupTree
from services.worker.sandbox.host import host_problems
from services.worker.sandbox.launch import Launcher
from services.worker.sandbox.network.from_settings import network
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.slot import Slots
from services.worker.sandbox.spec import Sandbox, SandboxError
from services.worker.sandbox.tree_views import TreeViews
from services.worker.sandbox.uids import NominalUids, UidPool, Uids
from services.worker.zygotes import Zygote
from shared.domain.errors import ConfigurationError
from shared.domain.limits import MEMORY_MB_DEFAULT
from shared.settings import Settings, WorkerSettings

log = logging.getLogger("lambdad.worker")

SANDBOX_BYTES = 3 * 1024**2
"""What a fork of a zygote that waits takes of the host's memory, generously; programs say more (`Recipe.waiting_bytes`)."""
MEMORY_SHARE = 1 / 16
"""Of the host's memory, for what waits in one pool."""
MEMORY_SHARE_OF_ALL = 1 / 8
"""Of the host's memory, for what waits in all pools."""
READY_MAX = 512
LEAST_OF_A_SIZE = 1
"""Kept ready of programs that serve functions of one memory size alone, while such functions are deployed or used."""
ARCHIVES = "archives"
"""Folder of the worker's root."""
_UIDS_SPARE = 256
"""Beyond the environments that may exist and a full pool: other pools, and uids that rest after use."""


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
        self._ready_max = _ready_max(settings.worker)
        self._ready_bytes_max = int(psutil.virtual_memory().total * MEMORY_SHARE_OF_ALL)
        self._recipes: dict[str, Recipe] = {}
        self._zygotes: dict[str, Zygote] = {}
        self._pools: dict[str, RuntimePool] = {}
        self._cgroups: CgroupTree | None = None
        self._uids: Uids | None = None
        self._views: TreeViews | None = None
        self._launcher: Launcher | None = None
        self.network = network(settings, lambda: self.on_network_lost())
        self.on_network_lost: Callable[[], None] = lambda: None

    @property
    def memory_mb(self) -> int:
        """What all sandboxes may use together, once started."""
        assert self._cgroups is not None
        return self._cgroups.memory_bytes // 1024**2

    def used_bytes(self, exact_above: int) -> int:
        """See `CgroupTree.used_bytes`."""
        return 0 if self._cgroups is None else self._cgroups.used_bytes(exact_above)

    def weaker(self) -> dict[str, str]:
        """What functions have less of than they should, for people."""
        found = {"network": self.network.weaker} if self.network.weaker else {}
        if self._settings.isolation == ROOTLESS:
            found["isolation"] = "rootless: functions are less apart and have fewer limits (SECURITY.md)"
        return found

    async def start(self) -> None:
        rootless = self._settings.isolation == ROOTLESS
        if os.geteuid() != 0:
            raise ConfigurationError(
                "the worker must run as root: it makes namespaces and changes users for each function. "
                "LAMBDAD_WORKER__ISOLATION=rootless has it do with less, and functions be less apart (SECURITY.md)."
            )
        if rootless != namespaces.has_one_user():
            raise ConfigurationError(
                "only a worker with LAMBDAD_WORKER__ISOLATION=rootless runs in a user namespace of one user"
            )
        if problems := host_problems():
            raise ConfigurationError("\n".join(problems))
        memory_mb = self._settings.memory_mb_max
        self._cgroups = CgroupTree(
            FACILITIES if rootless else self._settings.allow_missing_limits,
            memory_bytes=None if memory_mb is None else memory_mb * 1024**2,
            processes=self._settings.processes_max,
        )
        wanted = self._settings.environments_max + self._ready_max + _UIDS_SPARE
        first, count = self._settings.uid_first, self._settings.uid_count
        self._uids = NominalUids(first, min(wanted, count)) if rootless else UidPool(first, count, wanted)
        try:
            self._views = TreeViews(self._root)
        except OSError as error:
            raise ConfigurationError(f"functions cannot be given files of their own (overlayfs): {error}") from error
        await self.network.start()
        self._launcher = Launcher(Slots(self._cgroups, self._uids, self.network), self._views)
        for runtime in self._settings.prestart_runtimes:
            try:
                self._pool(runtime, MEMORY_MB_DEFAULT).keep()
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
        await self.network.close()
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

    def expect(self, runtime: str, memory_mb: int) -> None:
        """An environment of such a function is likely to be started soon; one that cannot run here is none."""
        with contextlib.suppress(UnsupportedRuntimeError):
            self._pool(runtime, memory_mb).expect()

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
                self._zygotes[name] = Zygote(self._recipes[name], self._root / ARCHIVES)
            sized = recipe is not self._recipes[name]
            least = min(self._settings.pool_size, LEAST_OF_A_SIZE) if sized else self._settings.pool_size
            demand = Demand(least, self._ready_max * SANDBOX_BYTES // recipe.waiting_bytes, lasting=not sized)
            pool = RuntimePool(recipe, self._zygotes[name], self._launcher, demand, lambda: self._room(recipe))
            self._pools[recipe.pool] = pool
        return pool

    def _room(self, recipe: Recipe) -> int:
        """How many may wait in this pool beside what waits in the others."""
        others = sum(pool.ready_bytes for name, pool in self._pools.items() if name != recipe.pool)
        return max(0, (self._ready_bytes_max - others) // recipe.waiting_bytes)


def _ready_max(settings: WorkerSettings) -> int:
    if settings.pool_size_max is not None:
        return settings.pool_size_max
    total = int(psutil.virtual_memory().total)
    return min(READY_MAX, settings.environments_max, int(total * MEMORY_SHARE) // SANDBOX_BYTES)
