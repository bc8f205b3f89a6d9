"""The peak of an environment's memory, as its reports show it."""

from __future__ import annotations

from services.worker.sandbox.spec import Sandbox

READ_INTERVAL_S = 0.05
"""It is read again after an invocation only when the last reading is at least this old: that costs a system call or two,
and the peak only ever grows while the runtime lives."""
MIB = 1024 * 1024


class PeakMemory:
    __slots__ = ("_limit_mb", "_mb", "_read_at")

    def __init__(self, limit_mb: int) -> None:
        self._limit_mb = limit_mb
        self.reset()

    def reset(self) -> None:
        """A fresh runtime begins with none."""
        self._mb = 0
        self._read_at = 0.0

    def read_mb(self, sandbox: Sandbox, now: float) -> int:
        """Whole MB, rounded up, never over the limit. now: by time.monotonic()."""
        if now - self._read_at >= READ_INTERVAL_S:
            self._read_at = now
            self._mb = min(-(-sandbox.max_memory_bytes() // MIB), self._limit_mb)
        return self._mb
