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

    __slots__ = ("_makers", "_sink", "_tail", "_unended")

    def __init__(self, sink: LogSink, makers: Makers) -> None:
        self._sink = sink
        self._makers = makers
        self._tail: bytearray | None = None
        self._unended: type[Output] | None = None

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
            self._end_line(but_of=type(event))
            self._unended = None if data[-1] == 0x0A else type(event)
            self._add(data, whole=event.whole)
        else:
            data = make(event)
            if not data:
                return
            self._end_line()
            self._add(data)

    def _end_line(self, *, but_of: type[Output] | None = None) -> None:
        """The lines of the function, of its extensions and of the platform are lines of their own."""
        if self._unended not in (None, but_of):
            self._unended = None
            self._add(b"\n")

    def _add(self, data: bytes, *, whole: bool = False) -> None:
        self._sink.append(data, whole=whole)
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
