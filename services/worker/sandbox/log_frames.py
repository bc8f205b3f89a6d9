"""Log records of several lines in what a function writes, framed as AWS's runtimes frame them for _LAMBDA_TELEMETRY_LOG_FD:
4 bytes of type (0xa55a00 and one more), 4 of length, 8 of time, then the text.

Here they come by the same pipe as everything else, so that they keep their place among printed lines. No UTF-8 text begins so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from shared.domain.limits import LOG_EVENT_BYTES_MAX

MAGIC = b"\xa5\x5a\x00"
HEADER = struct.Struct("!4sIQ")

Written = tuple[bytes, bool]
"""Bytes, and whether they are one record: if not, they are any part of a text that lines divide."""


class LogFrames:
    """Of one pipe. Holds one record at most, cut where an event ends."""

    __slots__ = ("_held", "_left", "_record")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._record = bytearray()

    def feed(self, data: bytes) -> Iterator[Written]:
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            if self._left:
                taken = data[at : at + min(self._left, LOG_EVENT_BYTES_MAX - len(self._record))]
                at += len(taken)
                self._left -= len(taken)
                self._record += taken
                if not self._left or len(self._record) == LOG_EVENT_BYTES_MAX:
                    yield from self._take_record()
                continue
            begin = _beginning(data, at)
            if begin > at:
                yield data[at:begin], False
            if len(data) - begin < HEADER.size:
                self._held = data[begin:]
                return
            _type, self._left, _time = HEADER.unpack_from(data, begin)
            at = begin + HEADER.size

    def flush(self, *, ended: bool) -> Iterator[Written]:
        """What looked like a frame's beginning, once it has become none. ended: nothing more of a record comes, either."""
        if self._held:
            held, self._held = self._held, b""
            yield held, False
        if ended:
            self._left = 0
            yield from self._take_record()

    def _take_record(self) -> Iterator[Written]:
        record, self._record = bytes(self._record), bytearray()
        if record:
            yield record, True


def _beginning(data: bytes, at: int) -> int:
    """Where a frame begins, or may begin once more has come; the end if nowhere."""
    found = data.find(MAGIC, at)
    if found >= 0:
        return found
    for length in (2, 1):
        if data.endswith(MAGIC[:length]) and len(data) - length >= at:
            return len(data) - length
    return len(data)
