from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.worker.cluster import Caller, TestWorker
from tests.integration.worker.process_sandbox import ProcessPool


@pytest.fixture
def pool() -> ProcessPool:
    return ProcessPool()


@pytest.fixture
async def worker(pool: ProcessPool, tmp_path: Path) -> AsyncIterator[TestWorker]:
    worker = TestWorker(tmp_path, pool, environments_max=4)
    await worker.start()
    yield worker
    await worker.stop()
    assert all(sandbox.destroyed for sandbox in pool.made)


@pytest.fixture
async def caller(worker: TestWorker) -> AsyncIterator[Caller]:
    caller = await Caller.connect(worker.server.port)
    yield caller
    await caller.close()
