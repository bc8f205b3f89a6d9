from __future__ import annotations

import asyncio

import pytest

from services.worker.sandbox import work_budget
from services.worker.sandbox.work_budget import INVOCATION_STEPS, STEPS_A_SECOND, Saved, WorkBudget, all_sandboxes
from tests.support import PATIENCE_S


class Clock:
    """The event loop's, while a test holds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


def done(budget: WorkBudget, steps: int = 10) -> int:
    """Steps until it says stop; it goes on without end for nobody."""
    total = 0
    while total < 1_000_000:
        total += steps
        if not budget.spend(steps):
            return total
    raise AssertionError("without end")


async def test_an_invocation_brings_its_steps_and_more_come_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    budget = WorkBudget(all_sandboxes())
    assert work_budget.STEPS_SAVED_MAX * 0.9 <= done(budget) <= work_budget.STEPS_SAVED_MAX * 1.1
    assert budget.is_over()
    budget.invoked()
    assert not budget.is_over()
    assert done(budget) == pytest.approx(INVOCATION_STEPS, abs=work_budget.AT_ONCE_STEPS)
    total = 0
    for _ in range(100):
        clock.now += 0.1
        assert not budget.is_over()
        total += done(budget)
    assert total == pytest.approx(STEPS_A_SECOND * 10, rel=0.05)


async def test_many_invocations_save_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    budget = WorkBudget(all_sandboxes())
    done(budget)
    for _ in range(1_000):
        budget.invoked()
    assert done(budget) <= INVOCATION_STEPS + work_budget.AT_ONCE_STEPS


async def test_all_sandboxes_together_are_held_to_a_rate_and_an_invocation_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    together = all_sandboxes()
    many = [WorkBudget(together) for _ in range(50)]
    quiet = WorkBudget(together)
    for budget in many:
        done(budget)
    total = 0
    for _ in range(100):
        clock.now += 0.1
        total += sum(done(budget) for budget in many if not budget.is_over())
        assert quiet.is_over(), "nobody has saved anything up"
        quiet.invoked()
        assert done(quiet) >= INVOCATION_STEPS
    assert total == pytest.approx(work_budget.ALL_STEPS_A_SECOND * 10, rel=0.1)


async def test_whoever_waits_is_called_once_there_are_steps_and_nobody_after_the_end() -> None:
    saved = Saved(STEPS_A_SECOND, STEPS_A_SECOND)
    budget, ended = WorkBudget(saved), WorkBudget(saved)
    done(budget)
    called = asyncio.Event()
    budget.wait(called.set)
    ended.wait(called.clear)
    ended.close()
    assert not called.is_set()
    async with asyncio.timeout(PATIENCE_S):
        await called.wait()
    assert not budget.is_over()
