"""Which of the fetched events may run now: a window over all functions and a share of it for each. Pure: no I/O, no clock.

A function's share is found by trying: it grows while the function itself is what takes the time and more at once means more
done a second, and stays where it does not, so that a backlog starts as many environments as help and no more. A function that
is throttled loses what it was refused at once and earns it back. Functions take turns.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

SHARE = 0.75
"""The part of the window that one function may fill: the rest is there for whoever comes next."""
START = 8.0
"""What a function begins with."""
OWN_PART_MIN = 0.6
"""A share grows only where the function's own time is this part of the whole or more: the rest is spent in the platform, where
more at once would only wait in more places."""
GAIN = 1.1
"""How much faster twice the share must be to be kept."""
WINDOW_S_MIN = 0.1
HOLD_S = 5.0
"""How long a share stays where growing did not help."""
SLOW_WINDOW_S = 0.5
SLOW_GROWTH = 1.5
SLOW_SHARE_DONE = 0.25
"""A function is slow when less than this part of its share ended within the window."""
QUIET_FUNCTIONS_MAX = 1_000
"""How many functions without events keep the share that they had."""


class Ran(NamedTuple):
    """own_s: in the function. whole_s: from `next` to `finished`."""

    own_s: float
    whole_s: float


class _Function(Generic[T]):
    __slots__ = (
        "hold_until_s",
        "limit",
        "listed",
        "own_s",
        "proven",
        "rate",
        "running",
        "settling",
        "waiting",
        "whole_s",
        "window_done",
        "window_s",
    )

    def __init__(self, limit: float, now_s: float) -> None:
        self.limit = limit
        self.proven = limit
        """The greatest share that was worth having."""
        self.rate = 0.0
        """Events a second with the proven share."""
        self.running = 0
        self.waiting: deque[tuple[float, T]] = deque()
        self.listed = False
        self.hold_until_s = 0.0
        self.open_window(now_s, settling=True)

    def may_run(self) -> bool:
        return bool(self.waiting) and self.running < self.limit

    def open_window(self, now_s: float, *, settling: bool) -> None:
        """settling: what a change sets off (cold starts) is not measured."""
        self.window_s = now_s
        self.window_done = 0
        self.own_s = self.whole_s = 0.0
        self.settling = settling


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
            state = self._functions[function] = _Function(min(START, self._share_max), now_s)
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

    def finished(self, function: str, now_s: float, *, throttled: bool, ran: Ran | None = None) -> None:
        """An event that `next` gave has run, or was refused (throttled). ran: how long it took; None when that tells nothing of
        the next one, as with a cold start."""
        state = self._functions[function]
        if throttled:
            # What ran besides the refused event is what the function can have now.
            state.limit = state.proven = min(state.limit, max(1.0, state.running - 1.0))
            state.rate = 0.0
            state.hold_until_s = now_s + HOLD_S
            state.open_window(now_s, settling=True)
        elif ran is not None:
            self._measure(state, now_s, ran)
        state.running -= 1
        self.running -= 1
        self._list(function, state)

    def grow_slow(self, now_s: float) -> None:
        """Give more to functions whose events take long: waiting for them to end would tell nothing in time."""
        for function, state in self._functions.items():
            slow = state.window_done < state.limit * SLOW_SHARE_DONE and now_s - state.window_s >= SLOW_WINDOW_S
            if state.waiting and slow and state.running >= state.limit and now_s >= state.hold_until_s:
                state.limit = state.proven = min(self._share_max, state.limit * SLOW_GROWTH)
                state.rate = 0.0
                state.open_window(now_s, settling=True)
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

    def _measure(self, state: _Function[T], now_s: float, ran: Ran) -> None:
        """Count one that ran; when a window is full, decide whether the share grows, stays or goes back."""
        if not state.waiting:
            # Its share is not what bounds it now: nothing can be learnt.
            state.open_window(now_s, settling=False)
            return
        state.window_done += 1
        state.own_s += ran.own_s
        state.whole_s += ran.whole_s
        elapsed_s = now_s - state.window_s
        if state.window_done < state.limit or elapsed_s < WINDOW_S_MIN:
            return
        rate = state.window_done / elapsed_s
        if state.settling:
            state.open_window(now_s, settling=False)
        elif state.limit > state.proven and rate < state.rate * GAIN:
            state.limit = state.proven
            state.hold_until_s = now_s + HOLD_S
            state.open_window(now_s, settling=True)
        elif now_s >= state.hold_until_s and state.limit < self._share_max and state.own_s >= OWN_PART_MIN * state.whole_s:
            state.proven, state.rate = state.limit, rate
            state.limit = min(self._share_max, state.limit * 2)
            state.open_window(now_s, settling=True)
        else:
            state.proven, state.rate = state.limit, rate
            state.open_window(now_s, settling=False)

    def _list(self, function: str, state: _Function[T]) -> None:
        if not state.listed and state.may_run():
            state.listed = True
            self._turns.append(function)

    def _forget_quiet(self) -> None:
        if len(self._functions) >= QUIET_FUNCTIONS_MAX:
            quiet = [name for name, state in self._functions.items() if not state.running and not state.waiting]
            for name in quiet:
                del self._functions[name]
