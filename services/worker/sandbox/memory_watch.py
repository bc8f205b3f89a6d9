"""Keeping what is in `/tmp` apart from a function's memory, as on AWS, where it is a disk.

The kernel charges a sandbox's cgroup for both. So the cgroup's own limit is the sum of the two, `/tmp` is bounded by its file
system, and what this watches is the rest: the memory in use, less what is in `/tmp`. When it is too much, the kernel is first
made to reclaim what it can (cached files); if that is not enough, the function has more memory than it may.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

STEP_BYTES = 8 * 1024 * 1024
"""How far memory in use may move before it is looked at again, while there is something in /tmp."""
_threads = ThreadPoolExecutor(4, thread_name_prefix="memory-watch")
"""Of their own: however often they wait for the kernel, nothing else of the worker does."""
TMP_INODE_BYTES = 1024
"""What a file or folder in /tmp takes of the kernel's memory besides what is in it, and what it is counted with."""
_EMPTY_INODES = 1
"""/tmp itself: nothing is in there, and nothing of what that takes is done for a function that leaves it so."""
PAUSE_S = 0.02
"""Between two looks, whatever a function does: each takes the worker some 50 us."""


class Alarm(Protocol):
    """Of one cgroup. fd: readable when the memory in use has passed a mark that was set last; another one after `set`."""

    fd: int

    def set(self, above_bytes: int, below_bytes: int | None) -> None:
        """In a thread: a kernel with cgroup v1 takes 5 to 30 ms for a mark, the time until none of its processors still looks
        at the marks of before."""

    def close(self) -> None: ...


class WatchedCgroup(Protocol):
    def memory_alarm(self) -> Alarm | None: ...
    def used_bytes(self) -> int: ...
    def squeeze(self, limit_bytes: int) -> bool: ...


class MemoryWatch:
    """tmp_fd: the sandbox's /tmp, from here on the watch's own. on_exceeded: called, perhaps more than once, when the function
    has more than memory_bytes. on_lost: called with what the kernel said when it cannot be watched any more."""

    def __init__(self, cgroup: WatchedCgroup, tmp_fd: int) -> None:
        self._cgroup = cgroup
        self._tmp_fd = tmp_fd
        self._loop = asyncio.get_running_loop()
        self._alarm: Alarm | None = None
        self._memory_bytes = 0
        self._on_exceeded: Callable[[], None] = lambda: None
        self._on_lost: Callable[[OSError], None] = lambda error: None
        self._seen_tmp = 0
        self._armed = False
        self._pause: asyncio.TimerHandle | None = None
        self._squeezing: asyncio.Task[None] | None = None
        self._arming: asyncio.Task[None] | None = None
        self.tmp_peak_bytes = 0

    def start(self, memory_bytes: int, on_exceeded: Callable[[], None], on_lost: Callable[[OSError], None]) -> None:
        """Raises OSError."""
        self._memory_bytes, self._on_exceeded, self._on_lost = memory_bytes, on_exceeded, on_lost
        self._alarm = self._cgroup.memory_alarm()
        self._arm(*self._look())

    def close(self) -> None:
        self._disarm()
        if self._pause is not None:
            self._pause.cancel()
        if self._squeezing is not None:
            self._squeezing.cancel()
        alarm, self._alarm = self._alarm, None
        if alarm is not None and self._arming is None:
            alarm.close()
        if self._tmp_fd >= 0:
            os.close(self._tmp_fd)
            self._tmp_fd = -1

    def tmp_bytes(self) -> int:
        """In /tmp now, its files' inodes counted in. Raises OSError."""
        found = os.fstatvfs(self._tmp_fd)
        inodes = found.f_files - found.f_ffree - _EMPTY_INODES
        used = (found.f_blocks - found.f_bfree) * found.f_frsize + inodes * TMP_INODE_BYTES
        self.tmp_peak_bytes = max(self.tmp_peak_bytes, used)
        return used

    def begin(self) -> None:
        """A peak of /tmp begins."""
        self.tmp_peak_bytes = 0
        self.review()

    def review(self) -> None:
        """Look again if /tmp has changed by much, which need not move the memory in use. Raises OSError."""
        if abs(self.tmp_bytes() - self._seen_tmp) >= STEP_BYTES and self._armed:
            self._disarm()
            self._judge(arm=True)

    def _look(self) -> tuple[int, int]:
        """(memory in use, of that in /tmp)."""
        self._seen_tmp = self.tmp_bytes()
        return self._cgroup.used_bytes(), self._seen_tmp

    def _arm(self, used: int, in_tmp: int) -> None:
        alarm = self._alarm
        if alarm is None:
            return
        bound = self._memory_bytes + in_tmp
        below = used - STEP_BYTES if in_tmp >= STEP_BYTES else None
        above = bound if used < bound - STEP_BYTES or not in_tmp else used + STEP_BYTES
        self._arming = self._loop.create_task(self._set(alarm, above, below))

    async def _set(self, alarm: Alarm, above: int, below: int | None) -> None:
        seen_tmp = self._seen_tmp
        failure: OSError | None = None
        try:
            await self._loop.run_in_executor(_threads, alarm.set, above, below)
        except OSError as error:
            failure = error
        self._arming = None
        if self._alarm is None:
            alarm.close()
        elif failure is not None:
            self._on_lost(failure)
        elif self._has_moved(seen_tmp, above, below):
            self._judge(arm=False)
        else:
            self._armed = True
            self._loop.add_reader(alarm.fd, self._on_alarm)

    def _has_moved(self, seen_tmp: int, above: int, below: int | None) -> bool:
        """Whether a mark was passed before it was set, or was set for what is in /tmp no more."""
        try:
            used, in_tmp = self._look()
        except OSError:
            return True
        return used > above or used < (below or 0) or abs(in_tmp - seen_tmp) >= STEP_BYTES

    def _disarm(self) -> None:
        if self._armed and self._alarm is not None:
            self._loop.remove_reader(self._alarm.fd)
        self._armed = False

    def _on_alarm(self) -> None:
        self._disarm()
        self._judge(arm=False)

    def _judge(self, *, arm: bool) -> None:
        """arm: go on watching if all is well; else look again after a pause."""
        if self._alarm is None:
            return
        try:
            used, in_tmp = self._look()
            if used > self._memory_bytes + in_tmp:
                self._squeezing = self._loop.create_task(self._squeeze(self._memory_bytes + in_tmp))
            elif arm:
                self._arm(used, in_tmp)
            else:
                self._look_later()
        except OSError as error:
            self._on_lost(error)

    async def _squeeze(self, bound: int) -> None:
        """In a thread: the kernel may have much to reclaim."""
        try:
            fits = await self._loop.run_in_executor(_threads, self._cgroup.squeeze, bound)
        except OSError as error:
            if self._alarm is not None:
                self._on_lost(error)
            return
        if self._alarm is not None:
            if not fits:
                self._on_exceeded()
            self._look_later()

    def _look_later(self) -> None:
        self._pause = self._loop.call_later(PAUSE_S, lambda: self._judge(arm=True))
