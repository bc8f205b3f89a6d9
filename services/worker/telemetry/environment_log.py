"""One environment's log: what the function writes and the platform's own lines, in order; and the tail for a caller."""

from __future__ import annotations

from typing import Protocol

from services.worker.telemetry.events import LogsDropped, Output, TelemetryEvent
from services.worker.telemetry.platform_lines import Makers
from shared.domain.limits import LOG_TAIL_BYTES


class LogSink(Protocol):
    """Where an environment's log goes: one stream of a log group."""

    name: str

    def append(self, data: bytes, *, whole: bool = False) -> None:
        """whole: it is one record, whatever lines it has."""

    def dropped(self, size_bytes: int, lines: int) -> None:
        """So much is missing here."""


class EnvironmentLog:
    """Subscribes to its environment's events."""

    __slots__ = ("_at_line_start", "_makers", "_sink", "_tail")

    def __init__(self, sink: LogSink, makers: Makers) -> None:
        self._sink = sink
        self._makers = makers
        self._tail: bytearray | None = None
        self._at_line_start = True

    def begin(self, *, tail: bool) -> None:
        """An invocation begins; tail: its caller wants the end of its log."""
        self._tail = bytearray() if tail else None

    @property
    def has_tail(self) -> bool:
        return self._tail is not None

    def on_event(self, event: TelemetryEvent) -> None:
        if isinstance(event, LogsDropped):
            # The stream tells of it, with whatever else is missing.
            self._sink.dropped(event.dropped_bytes, event.dropped_records)
            return
        make = self._makers.get(type(event))  # type: ignore[arg-type]
        if make is None:
            assert isinstance(event, Output)
            data = event.data
            if not data:
                return
            if event.whole and data[-1] != 0x0A:
                data += b"\n"
            self._at_line_start = data[-1] == 0x0A
            self._sink.append(data, whole=event.whole)
        else:
            data = make(event)
            if not data:
                return
            if not self._at_line_start:
                # The platform's lines are lines of their own.
                data = b"\n" + data
                self._at_line_start = True
            self._sink.append(data)
        if self._tail is not None:
            self._add_to_tail(data)

    def take_tail(self) -> bytes:
        """The end of the invocation's log; empty unless it was asked for."""
        tail, self._tail = self._tail, None
        return bytes(tail[-LOG_TAIL_BYTES:]) if tail is not None else b""

    def _add_to_tail(self, data: bytes) -> None:
        tail = self._tail
        assert tail is not None
        tail += data[-LOG_TAIL_BYTES:]
        if len(tail) > 4 * LOG_TAIL_BYTES:
            del tail[:-LOG_TAIL_BYTES]
