"""What is written, cut into lines while it comes: telemetry tells of each when it has ended."""

from __future__ import annotations

from collections.abc import Iterator

from shared.domain.limits import LOG_EVENT_BYTES_MAX


class LineCutter:
    """Of one kind of output. Holds one line at most, cut where an event ends."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes, *, whole: bool) -> Iterator[str]:
        """Blank lines are left out. whole: it is one record, whatever lines it has."""
        if whole:
            yield from self.flush()
            yield from _parts(data)
            return
        *ended, begun = data.split(b"\n")
        for line in ended:
            if self._begun:
                line = bytes(self._begun) + line
                self._begun.clear()
            yield from _parts(line)
        self._begun += begun
        if len(self._begun) >= LOG_EVENT_BYTES_MAX:
            yield from self.flush()

    def flush(self) -> Iterator[str]:
        """What was begun and is not ended."""
        begun, self._begun = bytes(self._begun), bytearray()
        yield from _parts(begun)


def _parts(line: bytes) -> Iterator[str]:
    line = line.rstrip(b"\r\n")
    for begin in range(0, len(line), LOG_EVENT_BYTES_MAX):
        yield line[begin : begin + LOG_EVENT_BYTES_MAX].decode("utf-8", "replace")
