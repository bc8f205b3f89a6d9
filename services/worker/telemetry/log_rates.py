"""How much of what each function logs is kept: so many bytes a second on average, some of it saved up."""

from __future__ import annotations

import time

SAVED_S = 8.0
"""What a function does not log now it may log later, up to so many seconds' worth."""


class LogRates:
    """Of every function that logged lately. A function that saved up all that it may is forgotten."""

    def __init__(self, bytes_a_second: int) -> None:
        self._rate = bytes_a_second
        self._saved_max = bytes_a_second * SAVED_S
        self._accounts: dict[str, tuple[float, float]] = {}

    def allowance(self, function: str) -> int:
        """Bytes that it may log now."""
        return max(0, int(self._saved(function, time.monotonic())))

    def spend(self, function: str, size_bytes: int) -> None:
        """More than the allowance is fine: later ones are smaller then."""
        now = time.monotonic()
        self._accounts[function] = (self._saved(function, now) - size_bytes, now)

    def forget_savers(self) -> None:
        now = time.monotonic()
        for function in [name for name in self._accounts if self._saved(name, now) >= self._saved_max]:
            del self._accounts[function]

    def _saved(self, function: str, now: float) -> float:
        saved, at = self._accounts.get(function, (self._saved_max, now))
        return min(self._saved_max, saved + (now - at) * self._rate)
