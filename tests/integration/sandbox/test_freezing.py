"""Freezing a sandbox, by either version of cgroups."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from services.worker.sandbox import cgroup_v1, cgroup_v2
from tests.integration.sandbox.freezers import ABSENT, frozen_by
from tests.integration.sandbox.harness import Harness, processes_of, processor_seconds, until
from tests.support import PATIENCE_S

COUNTING = """
import threading
count = 0
def grow():
    global count
    while True:
        count += 1
threading.Thread(target=grow, daemon=True).start()
def handler(event, context):
    return count
"""


@pytest_asyncio.fixture(params=[cgroup_v1, cgroup_v2], ids=["v1", "v2"], loop_scope="session")
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    if os.geteuid() != 0:
        pytest.skip("sandboxes need root: namespaces, mounts, users")
    async with frozen_by(request.param, tmp_path) as harness:
        if harness is None:
            pytest.skip(ABSENT)
        yield harness


async def _seconds_when_it_stopped(processes: list[psutil.Process]) -> float:
    """A process that is in the middle of its time slice is frozen at the next tick."""
    seen = [processor_seconds(processes)]

    def stopped() -> bool:
        seen.append(processor_seconds(processes))
        return seen[-1] == seen[-2]

    await until(stopped, "it stopped")
    return seen[-1]


async def _pass_time(seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    await until(lambda: asyncio.get_running_loop().time() > end, "time passes")


async def test_a_frozen_sandbox_does_nothing_and_goes_on_when_thawed(made: Harness) -> None:
    async with made.running(COUNTING) as function:
        processes = processes_of(function.sandbox.uid)
        assert len(processes) == 1
        function.sandbox.freeze()
        before = await _seconds_when_it_stopped(processes)
        await _pass_time(0.2)
        assert processor_seconds(processes) == before
        function.sandbox.thaw()
        await until(lambda: processor_seconds(processes) > before, "it goes on")
        assert await function.result() > 0


async def test_a_frozen_sandbox_can_be_destroyed_and_its_runtime_killed(made: Harness) -> None:
    async with made.running(COUNTING) as function:
        processes = processes_of(function.sandbox.uid)
        function.sandbox.freeze()
        async with asyncio.timeout(PATIENCE_S):
            await function.sandbox.destroy()
        assert not any(process.is_running() for process in processes)
    async with made.running(COUNTING) as function:
        function.sandbox.freeze()
        function.sandbox.on_violation("meddled while frozen")
        await until(lambda: function.sandbox._ended is not None, "the runtime ended")
