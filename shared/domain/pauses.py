"""How long idle environments of a function are kept: by a histogram of the function's own pauses.

A pause is the time that an environment was idle before it was used again, or that a function had none before the next was
started. This is the keep-alive half of the hybrid histogram policy of "Serverless in the Wild" (Shahrad and others, USENIX ATC
2020); environments are not started ahead of an expected invocation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

SHORTEST_S = 10.0
"""Shorter pauses are not counted: no environment goes that soon, and a busy function would be nothing but those."""
PER_DOUBLING = 2
"""Buckets: the next one begins at 1.4 times the pause."""
BUCKETS = 24
"""The last one is for everything from eight hours on."""
COUNTED_MIN = 8
"""With less nothing is learnt."""
COVERED = 0.99
"""Of the pauses that can be bridged, that share is."""
MARGIN = 1.1
HALVED_AT = 512
"""So many pauses are counted before each of them is worth half, so that a function may change its habits."""


class Bounds(msgspec.Struct, frozen=True):
    """standard_s: for functions of which too little is known. least_s, most_s: bounds of what is learnt."""

    standard_s: float
    least_s: float
    most_s: float


class Pauses(msgspec.Struct, frozen=True):
    """counts: of each bucket, BUCKETS of them."""

    counts: tuple[int, ...]

    @classmethod
    def of(cls, counted: Mapping[int, int]) -> Pauses:
        return cls(tuple(counted.get(number, 0) for number in range(BUCKETS)))

    def keep_s(self, bounds: Bounds) -> float | None:
        """Within the bounds, what bridges nearly all pauses that can be bridged; None where these are too few, or the fewer."""
        bridged = [number for number in range(BUCKETS - 1) if begin_s(number + 1) <= bounds.most_s]
        total, within = sum(self.counts), sum(self.counts[number] for number in bridged)
        if within < COUNTED_MIN or within * 2 < total:
            return None
        covered, longest = 0, 0
        for number in bridged:
            covered += self.counts[number]
            longest = number
            if covered >= within * COVERED:
                break
        return min(max(begin_s(longest + 1) * MARGIN, bounds.least_s), bounds.most_s)

    def halved(self) -> Pauses | None:
        """What is to be remembered instead, None while that is all of it."""
        if sum(self.counts) < HALVED_AT:
            return None
        return Pauses(tuple(count // 2 for count in self.counts))


def bucket(pause_s: float) -> int:
    """Of a pause that is counted. The same as parts/pause.lua."""
    return min(BUCKETS - 1, math.floor(PER_DOUBLING * math.log2(pause_s / SHORTEST_S)))


def begin_s(number: int) -> float:
    """The shortest pause of a bucket."""
    return SHORTEST_S * math.pow(2.0, number / PER_DOUBLING)
