"""Ending many environments at once is spread over time, unless there is no time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from services.worker import teardown
from services.worker.teardown import Teardowns
from tests.support import PATIENCE_S


class Begun:
    def __init__(self, crowded_from: int = 1_000) -> None:
        self.at: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.teardowns = Teardowns(self._spawn, lambda waiting: waiting >= crowded_from)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.at.append(asyncio.get_running_loop().time())
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def add(self, count: int) -> None:
        async def nothing() -> None: ...

        for _ in range(count):
            self.teardowns.add(nothing())

    async def all(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.at) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await asyncio.gather(*self._tasks)


async def test_they_begin_one_by_one_after_what_they_had_to_go_for() -> None:
    begun = Begun()
    added = asyncio.get_running_loop().time()
    begun.add(5)
    assert not begun.at
    await begun.all(5)
    # From the beginning: one that a busy machine made late is nearer to the next.
    turns = [(at - added) / teardown.PAUSE_S for at in begun.at]
    assert all(turn > 0.9 * number for number, turn in enumerate(turns, 1)), turns
    assert not begun.teardowns


async def test_what_comes_later_is_begun_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teardown, "PAUSE_S", 0.001)
    begun = Begun()
    for count in range(1, 4):
        begun.add(1)
        await begun.all(count)
        async with asyncio.timeout(PATIENCE_S):
            while begun.teardowns._timer is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def test_no_more_wait_than_there_is_room_for() -> None:
    begun = Begun(crowded_from=3)
    begun.add(10)
    assert len(begun.at) == 8
    await begun.all(10)


async def test_a_worker_that_ends_does_not_wait() -> None:
    begun = Begun()
    begun.add(10)
    begun.teardowns.hurry()
    assert len(begun.at) == 10
    await begun.all(10)
