"""Cold starts take turns."""

from __future__ import annotations

import asyncio

import pytest

from services.worker import start_queue
from services.worker.start_queue import PLACES_MIN, StartQueue
from tests.support import PATIENCE_S


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors that have nothing to spare."""
    seconds = iter(range(1_000_000))
    monkeypatch.setattr(start_queue, "_processor_seconds", lambda: (0.0, float(next(seconds))))


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1_000_000))
    monkeypatch.setattr(start_queue, "_processor_seconds", lambda: (float(now := next(seconds)), float(now)))


async def _full(queue: StartQueue) -> None:
    for _ in range(PLACES_MIN):
        await queue.enter()


async def test_a_start_waits_for_the_end_of_another_in_order(busy: None) -> None:
    queue = StartQueue(cores=1)
    await _full(queue)
    order: list[int] = []

    async def one(number: int) -> None:
        await queue.enter()
        order.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert order == []
    for _ in tasks:
        queue.leave()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert queue.under_way == PLACES_MIN


async def test_busy_processors_let_nobody_in_beyond_the_places(busy: None) -> None:
    queue = StartQueue(cores=1)
    await _full(queue)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * start_queue.LOOK_INTERVAL_S):
            await queue.enter()
    assert queue.under_way == PLACES_MIN


async def test_starts_that_only_wait_do_not_hold_others_up_while_processors_are_idle(idle: None) -> None:
    queue = StartQueue(cores=1)
    await _full(queue)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(queue.enter() for _ in range(5)))
    assert queue.under_way == PLACES_MIN + 5
    for _ in range(PLACES_MIN + 5):
        queue.leave()
    assert queue.under_way == 0


async def test_a_place_given_to_one_who_has_just_given_up_goes_to_the_next(busy: None) -> None:
    queue = StartQueue(cores=1)
    await _full(queue)
    first, second = asyncio.create_task(queue.enter()), asyncio.create_task(queue.enter())
    await asyncio.sleep(0)
    queue.leave()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(PATIENCE_S):
        await second
    assert queue.under_way == PLACES_MIN
