"""What an environment wrote, as events: one for each line, and one for each record of its runtime, whatever lines it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from shared.domain.limits import LOG_EVENT_BYTES_MAX
from shared.events.log_records import LogEvent

EVENT_OVERHEAD_BYTES = 26
"""What an event counts for besides its text, as in CloudWatch Logs: short lines cost as much as others."""
EVENTS_AT_ONCE, BYTES_AT_ONCE = 500, 128 * 1024
"""So many are made before others have their turn of the event loop."""


class Written(msgspec.Struct, frozen=True, gc=False):
    """at: by time.time(). whole: it is one record. weight: its bytes and its events' overhead."""

    at: float
    data: bytes
    whole: bool
    weight: int

    @classmethod
    def of(cls, at: float, data: bytes, whole: bool = False) -> Written:
        events = 1 if whole else data.count(b"\n") or 1
        return cls(at, data, whole, len(data) + EVENT_OVERHEAD_BYTES * events)

    @property
    def lines(self) -> int:
        return 1 if self.whole else self.data.count(b"\n")


def events_of(pending: deque[Written]) -> Iterator[list[LogEvent]]:
    """Takes what is pending, piece by piece, as it is asked for events. Blank lines are left out."""
    events: list[LogEvent] = []
    size = 0
    rest, began = bytearray(), 0.0
    while pending:
        written = pending.popleft()
        at = written.at
        if written.whole:
            _add(events, at, bytearray(written.data), b"")
        elif not rest and written.data[-1] == 0x0A and len(written.data) <= _SMALL_BYTES:
            # Whole lines, as the platform writes them for every invocation.
            at_ms = int(at * 1e3)
            lines = written.data[:-1].decode("utf-8", "replace").split("\n")
            events.extend([LogEvent(at_ms, line + "\n") for line in lines if line.strip("\r")])
        else:
            left = written.data
            while left:
                *ended, left = left.split(b"\n", EVENTS_AT_ONCE)
                for line in ended:
                    rest += line
                    _add(events, began if len(rest) > len(line) else at, rest, b"\n")
                    rest.clear()
                if len(ended) < EVENTS_AT_ONCE:
                    if left:
                        began = began if rest else at
                        rest += left
                    left = b""
                elif len(events) >= EVENTS_AT_ONCE:
                    yield events
                    events, size = [], 0
        size += len(written.data)
        if len(events) >= EVENTS_AT_ONCE or size >= BYTES_AT_ONCE:
            if events:
                yield events
            events, size = [], 0
    _add(events, began, rest, b"")
    if events:
        yield events


_SMALL_BYTES = 1_024


def _add(events: list[LogEvent], at: float, line: bytearray, end: bytes) -> None:
    if not line.strip(b"\r\n"):
        return
    at_ms, size, begin = int(at * 1e3), len(line), 0
    while size - begin > LOG_EVENT_BYTES_MAX:
        cut = begin + LOG_EVENT_BYTES_MAX
        while cut > begin + LOG_EVENT_BYTES_MAX - 4 and line[cut] & 0xC0 == 0x80:
            cut -= 1  # A character that takes several bytes stays whole.
        events.append(LogEvent(at_ms, line[begin:cut].decode("utf-8", "replace")))
        begin = cut
    events.append(LogEvent(at_ms, (line[begin:] + end).decode("utf-8", "replace")))
