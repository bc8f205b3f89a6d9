"""How many sandboxes of one kind to keep ready: as many as were taken at once lately, and as functions were deployed that will
be invoked for the first time soon."""

from __future__ import annotations

import math
from collections import deque

AT_ONCE_S = 2.0
"""What is taken within so long is taken at once: about what it takes to make as many again."""
EXPECTED_S = 300.0
"""So long a function that nobody has invoked yet counts."""
KEPT_S = 30.0
"""So long a burst counts in full."""
DECAY_S = 10.0
"""Then what a burst counts for halves, each so often."""
IN_USE_S = 600.0
"""So long after it was last taken or expected, a kind that does not last is in use."""


class Demand:
    """least, most: bounds of `depth`. lasting: whether the least is kept ready even of a kind that nobody uses.
    Times are of any clock that does not go back, in seconds."""

    def __init__(self, least: int, most: int, *, lasting: bool = True) -> None:
        self._least_in_use = least
        self.lasting = lasting
        self._in_use_until = -math.inf
        self._most = max(least, most)
        self._taken = 0
        self._taken_from = 0.0
        self._peak = 0
        self._peak_until = 0.0
        self._expected: deque[float] = deque(maxlen=self._most)

    def expect(self, now: float) -> None:
        """One more is likely to be taken soon."""
        self._in_use_until = now + IN_USE_S
        self._expected.append(now + EXPECTED_S)

    @property
    def least(self) -> int:
        """What `depth` never falls below."""
        return self._least_in_use if self.lasting else 0

    def took(self, now: float) -> None:
        self._in_use_until = now + IN_USE_S
        if self._expected:
            self._expected.popleft()
        if now - self._taken_from >= AT_ONCE_S:
            self._taken, self._taken_from = 0, now
        self._taken += 1
        if self._taken >= self._peak:
            self._peak, self._peak_until = self._taken, now + KEPT_S

    def depth(self, now: float) -> int:
        while self._expected and self._expected[0] <= now:
            self._expected.popleft()
        while self._peak and self._peak_until <= now:
            self._peak, self._peak_until = self._peak // 2, self._peak_until + DECAY_S
        least = self._least_in_use if now < self._in_use_until else self.least
        return min(self._most, least + self._peak + len(self._expected))
