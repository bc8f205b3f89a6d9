"""What a function writes to stdout and stderr: one pipe, so that lines keep their order, read as it comes.

What is more than its log can keep is read too, for nobody should wait for a log, but thrown away, which costs the worker less.
All of it is read no faster than its sandbox may have the worker read (work_budget.py): who writes more than that waits, as for
any pipe that is full.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from services.worker.sandbox.flood import Flood
from services.worker.sandbox.log_frames import LogFrames
from services.worker.sandbox.work_budget import LOG_BYTES_A_STEP, READ_STEPS, THROWN_BYTES_A_STEP, Saved, WorkBudget
from services.worker.telemetry.events import TOO_FAST, LogsDropped
from services.worker.telemetry.log_stream import LINE_WAIT_S, STREAM_BYTES_MAX

OnOutput = Callable[[bytes, bool], None]
"""Gets what was written, as it comes, and whether it is one record or any part of what is written."""
OnDropped = Callable[[LogsDropped], None]
"""Told of what is missing before what comes next: its bytes, and about how many lines."""
KEPT_BYTES_A_SECOND = KEPT_BYTES_SAVED_MAX = STREAM_BYTES_MAX
"""What one environment's log may keep between two flushes, a second apart."""
KEPT_BYTES_AT_ONCE = 1024 * 1024
"""A flood is told of once for so many that are kept after it."""
_READ_BYTES = 64 * 1024
_SHORT_READ_BYTES, _PAUSE_S = 16 * 1024, 0.001
"""Who writes much in small pieces is given the time to write some of them: a read costs the same whatever it brings."""
_DRAIN_READS_MAX = 4
"""A pipe holds 64 KiB; more reads than that would let a function that never stops writing hold the worker."""
_LINE_BYTES_MAX = 64 * 1024
"""Of a line that is written in pieces, so much is held for LINE_WAIT_S: what else writes to the log comes after it."""


class OutputPipe:
    """Bytes before the first `deliver_to` are dropped. Write ends are their takers' to close."""

    def __init__(self, owner: int, budget: WorkBudget) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        # Programs that open /dev/stdout by its name open the pipe anew, which takes the right to.
        os.fchown(self._write_fd, owner, owner)
        self._budget = budget
        self._deliver: OnOutput | None = None
        self._on_dropped: OnDropped | None = None
        self._frames = LogFrames()
        self._line = bytearray()
        self._line_waits: asyncio.TimerHandle | None = None
        self._kept = Saved(KEPT_BYTES_A_SECOND, KEPT_BYTES_SAVED_MAX)
        self._flood: Flood | None = None
        self._flood_ends: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_fd, self._on_readable)

    def deliver_to(self, deliver: OnOutput, on_dropped: OnDropped) -> None:
        self._deliver = deliver
        self._on_dropped = on_dropped

    def take_write_end(self) -> int:
        """For the sandbox's first process."""
        fd, self._write_fd = self._write_fd, -1
        return fd

    def new_write_end(self) -> int:
        """For a later one, when the others may have closed theirs. Raises OSError."""
        fd = os.open(f"/proc/self/fd/{self._read_fd}", os.O_WRONLY | os.O_CLOEXEC)
        self._loop.add_reader(self._read_fd, self._on_readable)
        return fd

    def drain(self, *, ended: bool = False) -> None:
        """Deliver what was written before now. ended: its writer has, so that a record is no longer waited for."""
        for _ in range(_DRAIN_READS_MAX):
            if not self._read():
                break
        if self._flood is not None:
            self._end_flood()
        self._flush(ended=ended)

    def close(self) -> None:
        if self._flood_ends is not None:
            self._flood_ends.cancel()
        self._tell_line()
        if self._read_fd >= 0:
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = -1
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1

    def _on_readable(self) -> None:
        size = self._read()
        if not size or self._read_fd < 0:
            return
        if self._budget.is_over():
            self._loop.remove_reader(self._read_fd)
            self._budget.wait(self._go_on)
        elif size < _SHORT_READ_BYTES and self._kept.missing_s(KEPT_BYTES_SAVED_MAX / 2):
            self._loop.remove_reader(self._read_fd)
            self._loop.call_later(_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if self._read_fd >= 0:
            self._loop.add_reader(self._read_fd, self._on_readable)

    def _read(self) -> int:
        """How many bytes; 0 when nothing more is there now."""
        if self._read_fd < 0:
            return 0
        try:
            data = os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.remove_reader(self._read_fd)
            return 0
        self._budget.spend(READ_STEPS)
        if self._flood is None and self._kept.missing_s(len(data)):
            self._flood = Flood()
            self._flood_ends = self._loop.call_later(self._kept.missing_s(KEPT_BYTES_AT_ONCE), self._end_flood)
        if self._flood is None:
            self._keep(data)
        else:
            self._budget.spend(len(data) // THROWN_BYTES_A_STEP)
            self._flood.add(data)
        return len(data)

    def _keep(self, data: bytes) -> None:
        self._kept.take(len(data))
        self._budget.spend(len(data) // LOG_BYTES_A_STEP)
        for part, whole in self._frames.feed(data):
            self._tell(part, whole)

    def _end_flood(self) -> None:
        """What was written last is kept, and told what is missing before it."""
        flood, self._flood = self._flood, None
        if flood is None:
            return
        if self._flood_ends is not None:
            self._flood_ends.cancel()
        if flood.gone_bytes:
            # Of a record whose end is gone, its beginning.
            self._flush(ended=True)
            if self._on_dropped is not None:
                self._on_dropped(LogsDropped(flood.gone_bytes, flood.gone_lines, TOO_FAST))
        self._keep(flood.newest)

    def _flush(self, *, ended: bool) -> None:
        for data, whole in self._frames.flush(ended=ended):
            self._tell(data, whole)
        self._tell_line()

    def _tell(self, part: bytes, whole: bool) -> None:
        """Of lines only such as have ended."""
        if self._deliver is None:
            return
        if whole:
            self._tell_line()
            self._deliver(part, True)
            return
        end = part.rfind(b"\n") + 1
        if end or len(self._line) + len(part) > _LINE_BYTES_MAX:
            end = end or len(part)
            self._deliver(bytes(self._line) + part[:end] if self._line else part[:end], False)
            self._line.clear()
            self._wait_no_more()
        self._line += part[end:]
        if self._line and self._line_waits is None:
            self._line_waits = self._loop.call_later(LINE_WAIT_S, self._tell_line)

    def _tell_line(self) -> None:
        """As far as it has come."""
        self._wait_no_more()
        if self._line and self._deliver is not None:
            line = bytes(self._line)
            self._line.clear()
            self._deliver(line, False)

    def _wait_no_more(self) -> None:
        if self._line_waits is not None:
            self._line_waits.cancel()
            self._line_waits = None
