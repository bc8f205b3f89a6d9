"""Memory that runs out, with real functions that fill it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker.environment.machine import State
from services.worker.pool import SandboxPool
from services.worker.pressure import MemoryPressure
from services.worker.workspace import claim
from tests.integration.worker.cluster import Caller, until
from tests.integration.worker.test_real_sandbox import RealWorker
from tests.support import PYTHON

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

MEMORY_MB = 400
HOLD = """
import time
held = []
def handler(event, context):
    held.append(bytearray(event["mb"] << 20))
    while event.get("wait") and not __import__("os").path.exists("/tmp/never"):
        time.sleep(0.01)
        event["wait"] -= 1
    return sum(map(len, held)) >> 20
"""


@pytest.fixture
async def worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealWorker]:
    workspace = claim(tmp_path_factory.mktemp("data"), "worker-pressed")
    worker = RealWorker(
        workspace.path,
        None,  # type: ignore[arg-type]
        environments_max=20,
        pool_size=1,
        prestart_runtimes=[PYTHON],
        memory_mb_max=MEMORY_MB,
    )
    pool = SandboxPool(worker.settings, Path(workspace.path))
    worker.fleet._pool = worker.pool = pool
    await pool.start()
    await worker.start()
    yield worker
    await worker.stop()
    await pool.close()
    workspace.release()


async def test_the_idle_environment_that_was_not_used_for_longest_makes_room_for_one_that_runs(worker: RealWorker) -> None:
    pool = worker.pool
    assert isinstance(pool, SandboxPool)
    pressure = MemoryPressure(pool.memory_mb * 1024**2, pool.used_bytes, worker.fleet.idle, worker.fleet.stop)
    caller = await Caller.connect(worker.server.port)
    spec = worker.function(HOLD, memory_mb=512, timeout_s=20)
    environments = worker.fleet._environments
    for name in ("e-1", "e-2", "e-3"):
        assert (await caller.answer(spec, name, {"mb": 100}, cold=True)).json() == 100
        await until(lambda name=name: environments[name].state is State.FROZEN)
    assert 300 < pool.used_bytes(0) / 1024**2 < 360
    pressure.check()
    assert set(environments) == {"e-1", "e-2", "e-3"}, "there is room"
    assert (await caller.answer(spec, "e-1", {"mb": 0})).json() == 100
    await until(lambda: environments["e-1"].state is State.FROZEN)
    running = asyncio.create_task(caller.answer(spec, "e-4", {"mb": 55, "wait": 100}, cold=True))
    await until(lambda: pool.used_bytes(0) > 0.9 * MEMORY_MB * 1024**2)
    pressure.check()
    assert set(environments) == {"e-1", "e-3", "e-4"}, "e-1 was used since"
    assert (await running).json() == 55
    await until(lambda: "e-2" in worker.gone)
    await until(lambda: pool.used_bytes(0) < 0.8 * MEMORY_MB * 1024**2)
    pressure.check()
    assert set(environments) == {"e-1", "e-3", "e-4"}
    await caller.close()
