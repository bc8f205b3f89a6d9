"""Both versions of cgroups on one machine: sandboxes that are frozen by the one or by the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

from services.worker.pool import SandboxPool
from services.worker.sandbox import cgroup_v1, cgroups
from shared.settings import Settings
from tests.integration.sandbox.harness import Harness

ABSENT = "there is no such hierarchy that can be written here"


@asynccontextmanager
async def frozen_by(version: ModuleType, folder: Path) -> AsyncIterator[Harness | None]:
    """version: cgroup_v1 or cgroup_v2. None where this machine has none: ABSENT."""
    parents, _problems = cgroups.find_parents()
    name = cgroups.FREEZER if version is cgroup_v1 else ""
    mounted = cgroups._mounts().get(name)
    freezer = cgroups._folder(mounted, cgroups._own_paths().get(name, "/")) if mounted is not None else None
    if freezer is None or not cgroups._is_writable(freezer):
        yield None
        return
    settings = Settings()
    settings.worker.prestart_runtimes = []
    settings.worker.pool_size = settings.worker.pool_size_max = 0
    with mock.patch.object(cgroups, "find_parents", return_value=(parents | {cgroups.FREEZER: (freezer, version)}, {})):
        pool = SandboxPool(settings, folder / "root")
        await pool.start()
        try:
            yield Harness(pool, folder)
        finally:
            await pool.close()
