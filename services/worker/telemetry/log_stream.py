"""What one environment writes until it is shipped: kept as it came, bounded, and cut into events later, off every path."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from prometheus_client import Counter

from services.worker.telemetry.events import LogsDropped
from services.worker.telemetry.platform_lines import makers_for
from shared.domain.functions import VersionSpec
from shared.events.log_records import Dropped, LogEvent, LogSource

STREAM_BYTES_MAX = 4 * 1024 * 1024
"""What one environment may write between two flushes."""
PENDING_BYTES_MAX = 64 * 1024 * 1024
"""What all environments together may hold between two flushes."""
EVENT_BYTES_MAX = 256 * 1024
"""A longer line becomes several events."""
LINE_WAIT_S = 1.0
"""So long the rest of a line is waited for: one that is written in pieces is one event wherever a flush falls."""
EVENTS_AT_ONCE = 500
"""So many are made before others have their turn of the event loop."""
REASON = "they came faster than they could be stored"

DROPPED_BYTES = Counter("lambdad_worker_log_dropped_bytes_total", "Function log that was dropped")
DROPPED_LINES = Counter("lambdad_worker_log_dropped_lines_total", "Lines of function log that were dropped")


def log_stream_name(version: str, now: datetime) -> str:
    """`YYYY/MM/DD/[<version>]<32 hex>`, new for every environment."""
    return f"{now:%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"


class Owner(Protocol):
    """Who ships the stream. pending_bytes: of all streams together."""

    pending_bytes: int

    def wake(self, stream: LogStream) -> None:
        """`stream` has something to ship."""


class LogStream:
    """Implements `environment_log.LogSink`. `dropped` is told in the log itself, before what is shipped next."""

    __slots__ = ("_awake", "_bytes", "_dropped_bytes", "_dropped_lines", "_owner", "_pending", "_spec", "name", "source")

    def __init__(self, owner: Owner, spec: VersionSpec) -> None:
        self.name = log_stream_name(spec.version, datetime.now(UTC))
        self.source = LogSource(spec.log_group, self.name, spec.function_name, spec.version, spec.region)
        self._spec = spec
        self._owner = owner
        self._pending: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._dropped_bytes = 0
        self._dropped_lines = 0
        self._awake = False

    def append(self, data: bytes) -> None:
        owner = self._owner
        if not self._awake:
            self._awake = True
            owner.wake(self)
        size = len(data)
        self._pending.append((time.time(), data))
        self._bytes += size
        owner.pending_bytes += size
        if self._bytes > STREAM_BYTES_MAX or owner.pending_bytes > PENDING_BYTES_MAX:
            self._drop_oldest()

    def dropped(self, size_bytes: int, lines: int) -> None:
        """Part of what was taken from here went no further."""
        DROPPED_BYTES.inc(size_bytes)
        DROPPED_LINES.inc(lines)
        self._note(size_bytes, lines)

    def untold(self, dropped: Dropped) -> None:
        """A batch that told of a loss was lost itself: the loss is told again."""
        self._note(dropped.bytes, dropped.lines)

    def waiting_bytes(self) -> int:
        return self._bytes

    def keep(self, size_bytes: int) -> None:
        """No more than this of what waits: the oldest goes first. The last piece stays whatever its size, unless none may."""
        self._drop_oldest(size_bytes, pieces_min=1 if size_bytes else 0)

    def take(self, *, last: bool = False) -> tuple[Dropped | None, Iterator[list[LogEvent]]]:
        """Everything since the last call as events, a line each, blank lines left out; and what is missing before them,
        which the first event tells in words. The events are made piece by piece, as the iterator is asked for them.

        A line that was only just begun stays here, unless this is the last call."""
        self._awake = False
        self._owner.pending_bytes -= self._bytes
        pending, self._pending, self._bytes = self._pending, deque(), 0
        if not last:
            self._keep_begun(pending)
        if not self._dropped_bytes:
            return None, _events_of(pending)
        dropped = Dropped(self._dropped_bytes, self._dropped_lines)
        self._dropped_bytes = self._dropped_lines = 0
        words = makers_for(self._spec)[LogsDropped](LogsDropped(dropped.bytes, dropped.lines, REASON)).decode()
        return dropped, _told(LogEvent(int(time.time() * 1e3), words), pending)

    def _keep_begun(self, pending: deque[tuple[float, bytes]]) -> None:
        begun: deque[tuple[float, bytes]] = deque()
        size, since = 0, time.time() - LINE_WAIT_S
        while pending and pending[-1][1][-1] != 0x0A:
            at, data = pending.pop()
            ended = data.rfind(b"\n") + 1
            if ended:
                pending.append((at, data[:ended]))
            begun.appendleft((at, data[ended:]))
            size += len(data) - ended
            if at < since or size > EVENT_BYTES_MAX:
                pending.extend(begun)
                return
        if not begun:
            return
        self._pending, self._bytes = begun, size
        self._owner.pending_bytes += size
        self._awake = True
        self._owner.wake(self)

    def _note(self, size_bytes: int, lines: int) -> None:
        if not self._awake:
            self._awake = True
            self._owner.wake(self)
        self._dropped_bytes += size_bytes
        self._dropped_lines += lines

    def _drop_oldest(self, bytes_max: int = STREAM_BYTES_MAX, *, pieces_min: int = 1) -> None:
        owner = self._owner
        size_bytes = lines = 0
        while len(self._pending) > pieces_min and (self._bytes > bytes_max or owner.pending_bytes > PENDING_BYTES_MAX):
            _, data = self._pending.popleft()
            self._bytes -= len(data)
            owner.pending_bytes -= len(data)
            size_bytes += len(data)
            lines += data.count(b"\n")
        if size_bytes:
            self.dropped(size_bytes, lines)


def _told(first: LogEvent, pending: deque[tuple[float, bytes]]) -> Iterator[list[LogEvent]]:
    yield [first]
    yield from _events_of(pending)


def _events_of(pending: deque[tuple[float, bytes]]) -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    rest, began = bytearray(), 0.0
    while pending:
        at, data = pending.popleft()
        if not rest and data[-1] == 0x0A and len(data) <= EVENT_BYTES_MAX:
            # Whole lines, as the platform writes them for every invocation.
            at_ms = int(at * 1e3)
            lines = data[:-1].decode("utf-8", "replace").split("\n")
            events.extend([LogEvent(at_ms, line + "\n") for line in lines if line.strip("\r")])
        else:
            *ended, last = data.split(b"\n")
            for line in ended:
                rest += line
                _add(events, began if len(rest) > len(line) else at, rest, b"\n")
                rest.clear()
            if last:
                began = began if rest else at
                rest += last
        if len(events) >= EVENTS_AT_ONCE:
            yield events
            events = []
    _add(events, began, rest, b"")
    if events:
        yield events


def _add(events: list[LogEvent], at: float, line: bytearray, end: bytes) -> None:
    if not line.strip(b"\r"):
        return
    at_ms, size, begin = int(at * 1e3), len(line), 0
    while size - begin > EVENT_BYTES_MAX:
        cut = begin + EVENT_BYTES_MAX
        while cut > begin + EVENT_BYTES_MAX - 4 and line[cut] & 0xC0 == 0x80:
            cut -= 1  # A character that takes several bytes stays whole.
        events.append(LogEvent(at_ms, line[begin:cut].decode("utf-8", "replace")))
        begin = cut
    events.append(LogEvent(at_ms, (line[begin:] + end).decode("utf-8", "replace")))
