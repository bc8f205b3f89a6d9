"""What a function writes faster than its log can keep: all of it is gone but the newest, which may say how it ended."""

from __future__ import annotations

NEWEST_BYTES_MAX = 16 * 1024
_SAMPLE_BYTES = 4 * 1024
"""Lines are counted in so much of each piece: to look at all of it would cost more than to read it."""


class Flood:
    """newest: what was written last, never empty once something was added. gone_bytes: what was written before that."""

    __slots__ = ("_gone_lines", "gone_bytes", "newest")

    def __init__(self) -> None:
        self.newest = b""
        self.gone_bytes = 0
        self._gone_lines = 0.0

    @property
    def gone_lines(self) -> int:
        """About so many."""
        return round(self._gone_lines)

    def add(self, piece: bytes) -> None:
        gone_bytes = len(self.newest) + len(piece) - NEWEST_BYTES_MAX
        if gone_bytes <= 0:
            self.newest += piece
            return
        sample = piece[:_SAMPLE_BYTES]
        self._gone_lines += sample.count(b"\n") / len(sample) * gone_bytes
        self.gone_bytes += gone_bytes
        self.newest = piece[-NEWEST_BYTES_MAX:] if len(piece) >= NEWEST_BYTES_MAX else self.newest[gone_bytes:] + piece
