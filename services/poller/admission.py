"""Which of the fetched events may run now: a window over all functions and a share of it for each. Pure: no I/O.

A function that is throttled gets a smaller share at once and earns it back with every event that runs, so that its
backlog does not spend its life being refused. Functions take turns.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

SHARE = 0.75
"""The part of the window that one function may fill: the rest is there for whoever comes next."""
QUIET_FUNCTIONS_MAX = 1_000
"""How many functions without events keep the share that they had."""


class _Function(Generic[T]):
    __slots__ = ("limit", "listed", "running", "waiting")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.running = 0
        self.waiting: deque[tuple[float, T]] = deque()
        self.listed = False

    def may_run(self) -> bool:
        return bool(self.waiting) and self.running < self.limit


class Admission(Generic[T]):
    """running_max: over all functions. Times are seconds of one monotonic clock."""

    def __init__(self, running_max: int) -> None:
        self._running_max = running_max
        self._share_max = max(1.0, running_max * SHARE)
        self._functions: dict[str, _Function[T]] = {}
        self._turns: deque[str] = deque()
        self.running = 0
        self.waiting = 0

    @property
    def held(self) -> int:
        """Events that were offered and are neither finished nor spilled."""
        return self.running + self.waiting

    def offer(self, function: str, item: T, now_s: float) -> None:
        state = self._functions.get(function)
        if state is None:
            self._forget_quiet()
            state = self._functions[function] = _Function(self._share_max)
        state.waiting.append((now_s, item))
        self.waiting += 1
        self._list(function, state)

    def next(self) -> tuple[str, T] | None:
        """The next event to run, which counts as running from now; None when there is none or no room."""
        while self._turns and self.running < self._running_max:
            function = self._turns.popleft()
            state = self._functions.get(function)
            if state is None:
                continue
            state.listed = False
            if not state.may_run():
                continue
            _, item = state.waiting.popleft()
            state.running += 1
            self.running += 1
            self.waiting -= 1
            self._list(function, state)
            return function, item
        return None

    def finished(self, function: str, *, throttled: bool) -> None:
        """An event that `next` gave has run, or was refused (throttled)."""
        state = self._functions[function]
        if throttled:
            # What ran besides the refused event is what the function can have now.
            state.limit = min(state.limit, max(1.0, state.running - 1.0))
        else:
            state.limit = min(self._share_max, state.limit + max(0.1, 1.0 / state.limit))
        state.running -= 1
        self.running -= 1
        self._list(function, state)

    def spill(self, waiting_since_s: float) -> list[T]:
        """Take out everything that waits for functions whose oldest event waits since before `waiting_since_s`."""
        spilled: list[T] = []
        for state in self._functions.values():
            if state.waiting and state.waiting[0][0] < waiting_since_s:
                spilled.extend(item for _, item in state.waiting)
                state.waiting.clear()
        self.waiting -= len(spilled)
        return spilled

    def _list(self, function: str, state: _Function[T]) -> None:
        if not state.listed and state.may_run():
            state.listed = True
            self._turns.append(function)

    def _forget_quiet(self) -> None:
        if len(self._functions) >= QUIET_FUNCTIONS_MAX:
            quiet = [name for name, state in self._functions.items() if not state.running and not state.waiting]
            for name in quiet:
                del self._functions[name]
