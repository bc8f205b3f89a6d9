"""How many slots are kept ready: a few, more when they were all taken at once, fewer again when nobody takes any."""

from __future__ import annotations

MIN, MAX = 16, 256
QUIET_S = 30.0


class Stock:
    """wanted: how many should be ready."""

    def __init__(self) -> None:
        self.wanted = MIN
        self._last_taken = 0.0

    def taken(self, left: int, now: float) -> None:
        """One was taken; so many are left."""
        self._last_taken = now
        if left == 0:
            self.wanted = min(2 * self.wanted, MAX)

    def settle(self, now: float) -> None:
        """Called now and then."""
        if now - self._last_taken >= QUIET_S and self.wanted > MIN:
            self.wanted = max(MIN, self.wanted // 2)
            self._last_taken = now
