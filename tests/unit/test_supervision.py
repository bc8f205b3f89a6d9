"""A background task that fails is told, counted, shown and started again; nobody who waits for it is left waiting."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from shared.events import supervision as consumers
from shared.telemetry import supervision
from shared.telemetry.health import Health
from shared.telemetry.supervision import failing, keep_running, supervise
from tests.support import PATIENCE_S


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "RESTART_BACKOFF_S", (0.001, 0.002))


class Work:
    """Fails as often as it is told, then runs until it is ended."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.runs = 0
        self.well = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)
        self.well.set()
        await asyncio.Event().wait()


@pytest_asyncio.fixture(autouse=True)
async def _nothing_stays() -> AsyncIterator[None]:
    """What a test started ends with it: the others look at every task of the process that fails."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    started = [task for task in left if task is not None and task.get_name().startswith("unit-")]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


def failures_of(task: str) -> float:
    return REGISTRY.get_sample_value("lambdad_task_failures_total", {"task": task}) or 0.0


def failing_here() -> list[str]:
    return [name for name in failing() if name.startswith("unit-")]


def ready(health: Health) -> tuple[int, dict[str, Any]]:
    answer = health.answer("/ready")
    assert answer is not None
    return answer[0], json.loads(answer[2])


async def test_an_unforeseen_failure_is_logged_counted_and_followed_by_another_start(caplog: pytest.LogCaptureFixture) -> None:
    before = failures_of("unit-a")
    work = Work(KeyError("never thought of"), IndexError("nor of this"))
    async with asyncio.timeout(PATIENCE_S):
        task = supervise("unit-a", work)
        await work.well.wait()
    assert (work.runs, failures_of("unit-a") - before) == (3, 2)
    # Other tests' parts of this process may still say something of their own.
    told = [record for record in caplog.records if task.get_name() in record.getMessage()]
    assert [record.levelno for record in told] == [logging.ERROR] * 2
    assert "never thought of" in caplog.text


async def test_health_shows_it_until_the_task_has_run_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    health = Health("unit", {})
    work, aside = Work(KeyError("x")), Work(KeyError("y"))
    async with asyncio.timeout(PATIENCE_S):
        task, other = supervise("unit-b", work, essential=True), supervise("unit-c", aside)
        await work.well.wait()
        await aside.well.wait()
    status, body = ready(health)
    assert (status, list(body["problems"]), list(body["failing_tasks"])) == (503, ["unit-b"], ["unit-b", "unit-c"])
    assert "KeyError('x')" in body["problems"]["unit-b"]
    alive = health.answer("/health")
    assert alive is not None
    assert (alive[0], list(json.loads(alive[2])["failing_tasks"])) == (200, ["unit-b", "unit-c"])
    monkeypatch.setattr(supervision, "HEALTHY_AFTER_S", 0.0)
    assert ready(health) == (200, {"service": "unit", "status": "ready", "problems": {}, "failing_tasks": {}})
    for each in (task, other):
        each.cancel()
    await asyncio.gather(task, other, return_exceptions=True)
    monkeypatch.setattr(supervision, "HEALTHY_AFTER_S", 30.0)
    assert failing_here() == []


async def test_pauses_grow_up_to_a_bound_and_begin_anew_after_a_good_while(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(pause_s: float, stop: asyncio.Event | None) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(supervision, "RESTART_BACKOFF_S", (0.2, 0.5, 1.0))
    monkeypatch.setattr(supervision, "_pause", pause)
    work = Work(*(KeyError(number) for number in range(5)))
    task = asyncio.create_task(keep_running("unit-d", work), name="unit-d")
    async with asyncio.timeout(PATIENCE_S):
        await work.well.wait()
    assert pauses == [0.2, 0.5, 1.0, 1.0, 1.0]
    task.cancel()
    monkeypatch.setattr(supervision, "HEALTHY_AFTER_S", -1.0)
    pauses.clear()
    work = Work(KeyError(1), KeyError(2))
    task = asyncio.create_task(keep_running("unit-d", work), name="unit-d")
    async with asyncio.timeout(PATIENCE_S):
        await work.well.wait()
    assert pauses == [0.2, 0.2]
    task.cancel()


async def test_what_is_foreseen_starts_it_again_and_is_no_failure() -> None:
    work = Work(OSError("the engine restarts"), TimeoutError())
    before = failures_of("unit-e")
    task = supervise("unit-e", work)
    async with asyncio.timeout(PATIENCE_S):
        await work.well.wait()
    assert (failing_here(), failures_of("unit-e") - before) == ([], 0)
    assert not task.done()


async def test_a_consumer_that_ends_before_it_is_stopped_is_started_again() -> None:
    stop = asyncio.Event()
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            stop.set()

    async with asyncio.timeout(PATIENCE_S):
        await consumers.keep_running("unit-f", work, stop)
    assert runs == 3


async def test_a_task_without_a_stop_ends_with_its_work() -> None:
    async def work() -> None:
        pass

    async with asyncio.timeout(PATIENCE_S):
        await keep_running("unit-g", work)
