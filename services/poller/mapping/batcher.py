"""Forms batches of one lane's records: by count, by size and by time. Pure: no I/O, no clock.

Source: "Batching behavior" in the Lambda developer guide: a batch goes as soon as its window is over, BatchSize is reached or
the payload would exceed 6 MB.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

R = TypeVar("R")

COMPACT_FROM = 1_024
"""So many records that were taken are kept in memory at most beside as many that wait."""


class Batcher(Generic[R]):
    """records_max: BatchSize. bytes_max: of a batch, in the unit that size_of measures. window_s: MaximumBatchingWindow.

    Every record of a busy source passes through here: what is done for one alone is to measure it.
    """

    def __init__(self, *, records_max: int, bytes_max: int, window_s: float, size_of: Callable[[R], int]) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._window_s = window_s
        self._size_of = size_of
        self._records: list[R] = []
        self._ends: list[int] = []
        """For each record the bytes that were ever added up to its end."""
        self._head = 0
        self._taken_bytes = self._added_bytes = 0
        self._opened_at_s = 0.0

    def __len__(self) -> int:
        return len(self._records) - self._head

    @property
    def waiting_bytes(self) -> int:
        """Of all records that wait."""
        return self._added_bytes - self._taken_bytes

    def add(self, records: Sequence[R], now_s: float) -> None:
        """The window opens with the first record that waits."""
        if not records:
            return
        if not len(self):
            self._opened_at_s = now_s
        self._records.extend(records)
        ends = accumulate(map(self._size_of, records), initial=self._added_bytes)
        next(ends)
        self._ends.extend(ends)
        self._added_bytes = self._ends[-1]

    def clear(self) -> list[R]:
        """All that waited, in its order."""
        waiting = self._records[self._head :]
        self._records.clear()
        self._ends.clear()
        self._head = self._taken_bytes = self._added_bytes = 0
        return waiting

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until `take` gives a batch if nothing more comes; 0 when it gives one now, None when nothing waits."""
        waiting = len(self)
        if not waiting:
            return None
        if waiting >= self._records_max or self.waiting_bytes >= self._bytes_max:
            return 0.0
        return max(0.0, self._opened_at_s + self._window_s - now_s)

    def take(self, now_s: float, *, early: bool = False) -> list[R]:
        """The next batch, [] when none is due. A record over bytes_max by itself is a batch of its own. early: do not wait for
        what is still missing in it."""
        if not len(self) or (not early and self.due_in_s(now_s) != 0.0):
            return []
        head = self._head
        most = min(head + self._records_max, len(self._records))
        end = max(head + 1, bisect_right(self._ends, self._taken_bytes + self._bytes_max, head, most))
        batch = self._records[head:end]
        self._taken_bytes = self._ends[end - 1]
        self._head = end
        if end == len(self._records) or end >= COMPACT_FROM:
            del self._records[:end], self._ends[:end]
            self._head = 0
        # What is left has waited as long as the batch has: its window is that of its own first record.
        self._opened_at_s = now_s
        return batch
