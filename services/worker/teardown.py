"""Ending many environments one after another. The kernel takes a millisecond or two to end one, with its namespaces and mounts:
hundreds at once would keep every processor from what runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

FIRST_PAUSE_S = 0.01
"""What it had to go for is starting."""
PAUSE_S = 0.01


class Teardowns:
    """spawn: begins one. crowded: whether so many that wait are too many, for what they hold is needed: then they do not."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], None], crowded: Callable[[int], bool]) -> None:
        self._spawn = spawn
        self._crowded = crowded
        self._waiting: deque[Coroutine[Any, Any, None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        """The first begins soon, each further one a pause after the last."""
        self._waiting.append(work)
        while self._waiting and self._crowded(len(self._waiting)):
            self._begin_one()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FIRST_PAUSE_S, self._go_on)

    def hurry(self) -> None:
        """Begin all that wait."""
        while self._waiting:
            self._begin_one()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_one(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._go_on)
        self._spawn(self._waiting.popleft())

    def _go_on(self) -> None:
        self._timer = None
        if self._waiting:
            self._begin_one()
