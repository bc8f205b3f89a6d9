"""Forms batches of one partition's records: by count, by size and by time. Pure: no I/O, no clock.

Source: "Batching behavior" in the Lambda developer guide: a batch goes as soon as its window is over, BatchSize is reached or
the payload would exceed 6 MB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

R = TypeVar("R")


class Batcher(Generic[R]):
    """records_max: BatchSize. bytes_max: of a batch, in the unit that size_of measures. window_s: MaximumBatchingWindow."""

    def __init__(self, *, records_max: int, bytes_max: int, window_s: float, size_of: Callable[[R], int]) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._window_s = window_s
        self._size_of = size_of
        self._waiting: deque[R] = deque()
        self._opened_at_s = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, records: Iterable[R], now_s: float) -> None:
        """The window opens with the first record that waits."""
        if not self._waiting:
            self._opened_at_s = now_s
        self._waiting.extend(records)

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until `take` gives a batch if nothing more comes; 0 when it gives one now, None when nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._records_max:
            return 0.0
        left_s = self._opened_at_s + self._window_s - now_s
        if left_s <= 0 or self._is_full_by_size():
            return 0.0
        return left_s

    def take(self, now_s: float) -> list[R]:
        """The next batch, [] when none is due. A record over bytes_max by itself is a batch of its own."""
        if self.due_in_s(now_s) != 0.0:
            return []
        waiting, size_of = self._waiting, self._size_of
        batch: list[R] = []
        room = self._bytes_max
        while waiting and len(batch) < self._records_max:
            room -= size_of(waiting[0])
            if room < 0 and batch:
                break
            batch.append(waiting.popleft())
        # What is left has waited as long as the batch has: its window is that of its own first record.
        self._opened_at_s = now_s
        return batch

    def _is_full_by_size(self) -> bool:
        size = 0
        for record in self._waiting:
            size += self._size_of(record)
            if size >= self._bytes_max:
                return True
        return False
