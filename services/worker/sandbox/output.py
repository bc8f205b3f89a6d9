"""What a function writes to stdout and stderr: one pipe, so that lines keep their order, read as it comes.

No faster than its sandbox may have the worker read (work_budget.py): who writes more waits, as for any pipe that is full.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from services.worker.sandbox.log_frames import LogFrames
from services.worker.sandbox.work_budget import LOG_BYTES_A_STEP, READ_STEPS, WorkBudget

OnOutput = Callable[[bytes, bool], None]
"""Gets what was written, as it comes, and whether it is one record or any part of what is written."""
_READ_BYTES = 64 * 1024
_DRAIN_READS_MAX = 4
"""A pipe holds 64 KiB; more reads than that would let a function that never stops writing hold the worker."""


class OutputPipe:
    """Bytes before the first `deliver_to` are dropped. Write ends are their takers' to close."""

    def __init__(self, owner: int, budget: WorkBudget) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        # Programs that open /dev/stdout by its name open the pipe anew, which takes the right to.
        os.fchown(self._write_fd, owner, owner)
        self._budget = budget
        self._deliver: OnOutput | None = None
        self._frames = LogFrames()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_fd, self._on_readable)

    def deliver_to(self, deliver: OnOutput) -> None:
        self._deliver = deliver

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
        for data, whole in self._frames.flush(ended=ended):
            if self._deliver is not None:
                self._deliver(data, whole)

    def close(self) -> None:
        if self._read_fd >= 0:
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = -1
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1

    def _on_readable(self) -> None:
        self._read()
        if self._read_fd >= 0 and self._budget.is_over():
            self._loop.remove_reader(self._read_fd)
            self._budget.wait(self._go_on)

    def _go_on(self) -> None:
        if self._read_fd >= 0:
            self._loop.add_reader(self._read_fd, self._on_readable)

    def _read(self) -> bool:
        """False when nothing more is there now."""
        if self._read_fd < 0:
            return False
        try:
            data = os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._read_fd)
            return False
        self._budget.spend(READ_STEPS + len(data) // LOG_BYTES_A_STEP)
        for part, whole in self._frames.feed(data):
            if self._deliver is not None:
                self._deliver(part, whole)
        return True
