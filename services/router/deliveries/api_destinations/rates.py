"""How often something may be done in a second. No I/O."""

from __future__ import annotations

from collections.abc import Callable

TARGETS_MAX = 4_000


class Rates:
    """now: of a clock that only goes on, seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}
        """What each has left of its second, and when that was so."""

    def take(self, target: str, per_second: int) -> float:
        """0 where one may be done now, and is then taken for done; else in how many seconds."""
        now = self._now()
        left, at = self._left.pop(target, (float(per_second), now))
        left = min(float(per_second), left + (now - at) * per_second)
        taken = left >= 1
        self._left[target] = (left - 1 if taken else left, now)
        while len(self._left) > TARGETS_MAX:
            self._left.pop(next(iter(self._left)))
        return 0.0 if taken else (1 - left) / per_second
