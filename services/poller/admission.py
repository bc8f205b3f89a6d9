"""Which of the fetched events may run now: a window over all functions and a share of it for each. Pure: no I/O, no clock.

A function's share is found by trying: it grows while the function itself is what takes the time and more at once means more
done a second, and stays where it does not, so that a backlog starts as many environments as help and no more. A function that
is throttled loses what it was refused at once and earns it back. Functions take turns.

What a function has waiting here is little: what it gets through in WAIT_S_MAX at its own pace. The rest is to wait elsewhere,
until about its turn, so that a function with a great backlog is never in the way of the events behind it.
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
WAIT_S_MAX = 3.0
"""What would wait longer for its turn does not wait here."""
CROWDED_WAIT_S_MAX = 0.5
"""And where the others need the room."""
LATE = 2.0
"""What waits so many times longer than its function's pace has promised shows that the pace is not what it was."""
NEWEST_PART = 0.2
"""How much the last run counts for what a function's runs take."""
BETWEEN_RUNS_S = 0.001
"""What passes between two runs at the least."""
QUIET_FUNCTIONS_MAX = 1_000
"""How many functions without events keep the share that they had."""


class Ran(NamedTuple):
    """own_s: in the function. whole_s: from `next` to `finished`."""

    own_s: float
    whole_s: float


class _Function(Generic[T]):
    __slots__ = (
        "away",
        "hold_until_s",
        "limit",
        "listed",
        "own_s",
        "proven",
        "rate",
        "running",
        "settling",
        "usual_s",
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
        self.away = 0
        """How many were sent to wait elsewhere and have not come back, as far as is known here."""
        self.usual_s: float | None = None
        """How long one runs, in the function itself: a platform that stands still makes nobody slow."""
        self.open_window(now_s, settling=True)

    def count_run(self, own_s: float) -> None:
        self.usual_s = own_s if self.usual_s is None else self.usual_s + (own_s - self.usual_s) * NEWEST_PART

    def pace(self, now_s: float, wait_s: float = WAIT_S_MAX) -> float | None:
        """How many end a second; None while that is not known, or no longer: the oldest waits much longer than `wait_s`.

        What it has shown counts where that is more: of a run that takes no time most is spent on its way."""
        if self.usual_s is None or (self.waiting and now_s - self.waiting[0][0] > wait_s * LATE):
            return None
        return max(self.rate, self.limit / (self.usual_s + BETWEEN_RUNS_S))

    def keeps(self, now_s: float, wait_s: float) -> int:
        """How many may wait here, none of them longer than `wait_s`."""
        pace = self.pace(now_s, wait_s)
        if pace is not None:
            return max(int(self.limit), int(pace * wait_s))
        if self.waiting and now_s - self.waiting[0][0] > wait_s:
            return int(self.limit)
        return len(self.waiting) + 1

    def may_run(self) -> bool:
        return bool(self.waiting) and self.running < self.limit

    def open_window(self, now_s: float, *, settling: bool) -> None:
        """settling: what a change sets off (cold starts) is not measured."""
        self.window_s = now_s
        self.window_done = 0
        self.own_s = self.whole_s = 0.0
        self.settling = settling


class Admission(Generic[T]):
    """running_max, held_max: over all functions. Times are seconds of one monotonic clock."""

    def __init__(self, running_max: int, held_max: int) -> None:
        self._running_max = running_max
        self._held_max = held_max
        self._share_max = max(1.0, running_max * SHARE)
        self._functions: dict[str, _Function[T]] = {}
        self._turns: deque[str] = deque()
        self.running = 0
        self.waiting = 0

    @property
    def held(self) -> int:
        """Events that were offered and are neither finished nor spilled."""
        return self.running + self.waiting

    def offer(self, function: str, item: T, now_s: float, *, returned: bool = False) -> bool:
        """False when it cannot wait here: it is to come back in `turn_in_s`. returned: it was sent to wait elsewhere before."""
        state = self._functions.get(function)
        if state is None:
            self._forget_quiet()
            state = self._functions[function] = _Function(min(START, self._share_max), now_s)
        if returned and state.away:
            state.away -= 1
        room = self._held_max - self.held
        waiting = len(state.waiting)
        if waiting >= state.keeps(now_s, WAIT_S_MAX) or (waiting >= room and waiting >= state.keeps(now_s, CROWDED_WAIT_S_MAX)):
            state.away += 1
            return False
        state.waiting.append((now_s, item))
        self.waiting += 1
        self._list(function, state)
        return True

    def ended_away(self, function: str) -> None:
        """One that was sent to wait elsewhere has come back and is not to run."""
        state = self._functions.get(function)
        if state is not None and state.away:
            state.away -= 1

    def turn_in_s(self, function: str, now_s: float) -> float | None:
        """When it is the turn of the event that was sent away last, by the function's pace; None while that is not known."""
        state = self._functions[function]
        pace = state.pace(now_s)
        return (len(state.waiting) + state.away) / pace if pace else None

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
            state.count_run(ran.own_s)
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

    def spill(self, now_s: float) -> list[tuple[str, T]]:
        """Take out, where there is no room left, what does not get its turn soon: the newest of each function first."""
        spilled: list[tuple[str, T]] = []
        for function, state in self._functions.items():
            for _ in range(len(state.waiting) - state.keeps(now_s, CROWDED_WAIT_S_MAX)):
                spilled.append((function, state.waiting.pop()[1]))
                state.away += 1
        self.waiting -= len(spilled)
        return spilled

    def clear(self) -> list[T]:
        """Take out everything that waits."""
        left = [item for state in self._functions.values() for _, item in state.waiting]
        for state in self._functions.values():
            state.waiting.clear()
        self.waiting = 0
        return left

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
