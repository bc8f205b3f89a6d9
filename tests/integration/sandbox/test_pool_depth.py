"""A pool makes as many sandboxes as will be needed, and ends those that will not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from services.worker import demand
from services.worker.pool import SandboxPool
from shared.settings import Settings
from tests.integration.sandbox.harness import PYTHON, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

LONG_S = 2 * (demand.EXPECTED_S + demand.KEPT_S + 10 * demand.DECAY_S)


async def test_a_pool_grows_by_what_is_deployed_and_taken_at_once_and_shrinks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped_s = 0.0
    depth = demand.Demand.depth
    monkeypatch.setattr(demand.Demand, "depth", lambda self, now: depth(self, now + skipped_s))
    settings = Settings()
    settings.worker.prestart_runtimes, settings.worker.pool_size, settings.worker.pool_size_max = [], 1, 4
    pool = SandboxPool(settings, tmp_path)
    await pool.start()

    def ready() -> int:
        return pool.stats().ready.get(PYTHON, 0)

    try:
        pool.expect("python1.0", 128)
        assert pool.stats().ready == {}
        for _ in range(2):
            pool.expect(PYTHON, 128)
        await until(lambda: ready() == 3, "the pool has one for each function that was deployed")
        skipped_s = LONG_S
        await until(lambda: ready() == 1, "the pool forgets functions that nobody invokes")
        skipped_s = 0.0
        uids = pool.stats().uids_free
        taken = await asyncio.gather(*(pool.take(PYTHON) for _ in range(6)))
        await until(lambda: ready() == 4, "the pool is ready for as many again as its bound lets it be")
        await asyncio.gather(*(sandbox.destroy() for sandbox in taken))
        skipped_s = LONG_S
        await until(lambda: ready() == 1, "the pool forgets the burst")
        await until(lambda: pool.stats().uids_free >= uids, "what it ended is given back")
    finally:
        await pool.close()
