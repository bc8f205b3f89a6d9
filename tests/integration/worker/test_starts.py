"""Cold starts that cannot have their turn: refused in time, so that their callers know that nothing ran."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker import fleet as fleet_module
from shared.dispatch.wire.messages import RefusalReason
from tests.integration.worker.cluster import Answer, Caller, TestWorker, header_for, until
from tests.integration.worker.process_sandbox import ProcessPool, ProcessSandbox
from tests.support import PATIENCE_S

ECHO = "def handler(event, context):\n    return event\n"


class GatedPool(ProcessPool):
    """Has no sandbox to give while it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def take(self, runtime: str, memory_mb: int) -> ProcessSandbox:
        await self.open.wait()
        return await super().take(runtime, memory_mb)


@pytest.fixture
def pool() -> GatedPool:
    return GatedPool()


@pytest.fixture
async def worker(pool: GatedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestWorker]:
    monkeypatch.setattr(fleet_module, "START_WAIT_S", 0.3)
    monkeypatch.setattr(fleet_module, "START_WAIT_S_MIN", 0.1)
    worker = TestWorker(tmp_path, pool, environments_max=100)
    await worker.start()
    yield worker
    await worker.stop()
    assert all(sandbox.destroyed for sandbox in pool.made)


async def test_starts_that_get_no_sandbox_are_refused_for_want_of_room_and_later_ones_are_served(
    worker: TestWorker, caller: Caller, pool: GatedPool
) -> None:
    spec = worker.function(ECHO)
    refusals = await asyncio.gather(*(caller.refusal(spec, f"e-{n}", cold=True) for n in range(60)))
    assert {(refusal.reason, refusal.gone) for refusal in refusals} == {(RefusalReason.NO_ROOM, True)}
    await until(lambda: len(worker.fleet) == 0)
    pool.open.set()
    assert (await caller.answer(spec, "e-later", "x", cold=True)).json() == "x"


async def test_the_wait_for_a_turn_is_no_part_of_the_initialisation(
    worker: TestWorker, caller: Caller, pool: GatedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "START_WAIT_S", 10.0)
    answer = asyncio.create_task(caller.answer(worker.function(ECHO), "e-1", cold=True))
    await until(lambda: len(worker.fleet) == 1)
    await asyncio.sleep(1.0)  # The passing of time is what is tested here.
    pool.open.set()
    opened = time.monotonic()
    header = (await answer).header
    assert header.init_ms is not None
    assert header.init_ms <= (time.monotonic() - opened) * 1_000


async def test_a_cancelled_start_takes_no_sandbox_once_it_has_its_turn(
    worker: TestWorker, caller: Caller, pool: GatedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "START_WAIT_S", 10.0)
    starts = worker.fleet._starts
    places = starts._places
    for _ in range(places):
        await starts.enter()
    monkeypatch.setattr(starts, "_look_at_processors", lambda: None)
    payload = b"1"
    stream, future = caller.send(header_for(worker.function(ECHO), "e-1", payload, cold=True), payload)
    await until(lambda: len(starts._waiting) == 1)
    caller.cancel(stream)
    await until(lambda: all(environment.cancelled for environment in worker.fleet._environments.values()))
    starts.leave()
    async with asyncio.timeout(PATIENCE_S):
        refusal = await future
    assert not isinstance(refusal, Answer)
    assert (refusal.reason, refusal.gone) == (RefusalReason.CANCELLED, True)
    assert starts.under_way == places - 1
    assert not pool.made
