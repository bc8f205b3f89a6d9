"""How many sandboxes of one kind to keep ready: as many as were taken at once lately, and as functions were deployed that will
be invoked for the first time soon."""

from __future__ import annotations

from collections import deque

AT_ONCE_S = 2.0
"""What is taken within so long is taken at once: about what it takes to make as many again."""
EXPECTED_S = 300.0
"""So long a function that nobody has invoked yet counts."""
KEPT_S = 30.0
"""So long a burst counts in full."""
DECAY_S = 10.0
"""Then what a burst counts for halves, each so often."""


class Demand:
    """least, most: bounds of `depth`. Times are of any clock that does not go back, in seconds."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self._most = max(least, most)
        self._taken = 0
        self._taken_from = 0.0
        self._peak = 0
        self._peak_until = 0.0
        self._expected: deque[float] = deque(maxlen=self._most)

    def expect(self, now: float) -> None:
        """One more is likely to be taken soon."""
        self._expected.append(now + EXPECTED_S)

    def took(self, now: float) -> None:
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
        return min(self._most, self.least + self._peak + len(self._expected))
