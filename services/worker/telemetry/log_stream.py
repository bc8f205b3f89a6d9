"""What one environment writes until it is shipped: kept as it came, bounded, and cut into events later, off every path."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

from prometheus_client import Counter

from services.worker.telemetry.events import TOO_FAST, LogsDropped
from services.worker.telemetry.log_events import Written, events_of
from services.worker.telemetry.platform_lines import makers_for
from shared.domain.functions import VersionSpec
from shared.domain.limits import LOG_EVENT_BYTES_MAX
from shared.events.log_records import Dropped, LogEvent, LogSource

STREAM_BYTES_MAX = 4 * 1024 * 1024
"""What one environment may write between two flushes."""
PENDING_BYTES_MAX = 16 * 1024 * 1024
"""What all environments together may hold between two flushes, but for a little that each of them may."""
QUIET_BYTES = 16 * 1024
"""That little: who writes no more loses nothing to those who write much."""
LINE_WAIT_S = 1.0
"""So long the rest of a line is waited for: one that is written in pieces is one event wherever a flush falls."""

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
    """Implements `environment_log.LogSink`. `dropped` is told in the log itself, before what is shipped next. Bytes are
    counted with what each event weighs besides (log_events.py)."""

    __slots__ = ("_awake", "_bytes", "_dropped_bytes", "_dropped_lines", "_owner", "_pending", "_spec", "name", "source")

    def __init__(self, owner: Owner, spec: VersionSpec) -> None:
        self.name = log_stream_name(spec.version, datetime.now(UTC))
        self.source = LogSource(spec.log_group, self.name, spec.function_name, spec.version, spec.region)
        self._spec = spec
        self._owner = owner
        self._pending: deque[Written] = deque()
        self._bytes = 0
        self._dropped_bytes = 0
        self._dropped_lines = 0
        self._awake = False

    def append(self, data: bytes, *, whole: bool = False) -> None:
        owner = self._owner
        if not self._awake:
            self._awake = True
            owner.wake(self)
        written = Written.of(time.time(), data, whole)
        self._pending.append(written)
        self._bytes += written.weight
        owner.pending_bytes += written.weight
        if self._bytes > STREAM_BYTES_MAX or owner.pending_bytes > PENDING_BYTES_MAX:
            self._drop_oldest()

    def dropped(self, size_bytes: int, lines: int) -> None:
        """Part of what was taken from here went no further, or part of what was written never came here."""
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
            return None, events_of(pending)
        dropped = Dropped(self._dropped_bytes, self._dropped_lines)
        self._dropped_bytes = self._dropped_lines = 0
        words = makers_for(self._spec)[LogsDropped](LogsDropped(dropped.bytes, dropped.lines, TOO_FAST)).decode()
        return dropped, _told(LogEvent(int(time.time() * 1e3), words), pending)

    def _keep_begun(self, pending: deque[Written]) -> None:
        begun: deque[Written] = deque()
        size, since = 0, time.time() - LINE_WAIT_S
        while pending and not pending[-1].whole and pending[-1].data[-1] != 0x0A:
            last = pending.pop()
            ended = last.data.rfind(b"\n") + 1
            if ended:
                pending.append(Written.of(last.at, last.data[:ended]))
            begun.appendleft(Written.of(last.at, last.data[ended:]))
            size += begun[0].weight
            if last.at < since or size > LOG_EVENT_BYTES_MAX:
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

    def _is_over(self, bytes_max: int) -> bool:
        crowded = self._owner.pending_bytes > PENDING_BYTES_MAX
        return self._bytes > (min(bytes_max, QUIET_BYTES) if crowded else bytes_max)

    def _drop_oldest(self, bytes_max: int = STREAM_BYTES_MAX, *, pieces_min: int = 1) -> None:
        owner = self._owner
        size_bytes = lines = 0
        while len(self._pending) > pieces_min and self._is_over(bytes_max):
            written = self._pending.popleft()
            self._bytes -= written.weight
            owner.pending_bytes -= written.weight
            size_bytes += len(written.data)
            lines += written.lines
        if size_bytes:
            self.dropped(size_bytes, lines)


def _told(first: LogEvent, pending: deque[Written]) -> Iterator[list[LogEvent]]:
    yield [first]
    yield from events_of(pending)
