"""How many slots are kept ready: a few, more when a full stock was taken at once, fewer again when nobody takes any."""

from __future__ import annotations

MIN, MAX = 32, 256
QUIET_S = 30.0


class Stock:
    """wanted: how many should be ready."""

    def __init__(self) -> None:
        self.wanted = MIN
        self._was_full = False
        self._last_taken = 0.0

    def taken(self, left: int, now: float) -> None:
        """One was taken; so many are left."""
        self._last_taken = now
        if left == 0 and self._was_full:
            self.wanted = min(2 * self.wanted, MAX)
            self._was_full = False

    def is_low(self, ready: int) -> bool:
        """Whether what is missing is needed soon, whatever else goes on."""
        return ready < self.wanted // 4

    def settle(self, ready: int, now: float) -> None:
        """So many are ready. Called now and then."""
        self._was_full = self._was_full or ready >= self.wanted
        if now - self._last_taken >= QUIET_S and self.wanted > MIN:
            self.wanted = max(MIN, self.wanted // 2)
            self._last_taken = now
