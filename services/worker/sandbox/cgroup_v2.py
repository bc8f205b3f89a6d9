"""Limits and counters by the control files of cgroup v2. Same functions as cgroup_v1. Raise OSError."""

from __future__ import annotations

import os
import select

from services.worker.sandbox.cgroup_files import read, read_keyed, write

_MEMORY_EVENTS = "memory.events"


def set_memory_limit(folder: str, limit_bytes: int) -> None:
    write(folder, "memory.max", str(limit_bytes))
    try:
        write(folder, "memory.swap.max", "0")
    except FileNotFoundError:
        pass


def counts_sockets(folder: str) -> bool:
    return True


def set_socket_limit(folder: str, limit_bytes: int) -> None:
    """What sockets hold counts as memory here."""


def memory_bound(folder: str) -> int | None:
    """Of the cgroup and all above it that can be seen; the root of all has none."""
    bounds = []
    while os.path.exists(f"{folder}/memory.max"):
        limit = read(folder, "memory.max")
        if limit != "max":
            bounds.append(int(limit))
        folder = os.path.dirname(folder)
    return min(bounds, default=None)


def keep_out_of_swap(folder: str) -> None:
    """Each limit says so."""


def used_bytes(folder: str) -> int:
    return int(read(folder, "memory.current"))


def reclaimable_bytes(folder: str) -> int:
    """Of what is in use by the cgroup and all below it: files that are read again when they are needed."""
    return sum(read_keyed(folder, "memory.stat", f"{kind}_file") for kind in ("active", "inactive"))


def squeeze(folder: str, limit_bytes: int, limit_after_bytes: int) -> bool:
    """The kernel reclaims, and kills if that is not enough, before it lets go of the file."""
    write(folder, "memory.max", str(limit_bytes))
    write(folder, "memory.max", str(limit_after_bytes))
    return True


class MemoryAlarm:
    """The mark above which the kernel slows its processes down and says so in memory.events; there is none for below. See
    `memory_watch.Alarm`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._events_fd = os.open(f"{folder}/{_MEMORY_EVENTS}", os.O_RDONLY | os.O_CLOEXEC)
        # Such a file is always readable; that it has changed is an exceptional condition, which event loops do not wait for.
        self._changed = select.epoll()
        self._changed.register(self._events_fd, select.EPOLLPRI)
        self.fd = self._changed.fileno()

    def set(self, above_bytes: int, below_bytes: int | None) -> None:
        os.pread(self._events_fd, 4096, 0)  # What has happened so far is no news.
        write(self._folder, "memory.high", str(above_bytes))

    def close(self) -> None:
        self._changed.close()
        os.close(self._events_fd)


def reset_peak(folder: str) -> None:
    """Kernels before 6.12 cannot: the peak then is the cgroup's whole life's, which is one sandbox."""
    try:
        write(folder, "memory.peak", "reset")
    except OSError:
        pass


def peak_bytes(folder: str) -> int:
    try:
        return int(read(folder, "memory.peak"))
    except FileNotFoundError:
        return int(read(folder, "memory.current"))


def out_of_memory_kills(folder: str) -> int:
    return read_keyed(folder, _MEMORY_EVENTS, "oom_kill")


def set_cpu_period(folder: str, period_us: int) -> None:
    write(folder, "cpu.max", f"max {period_us}")


def set_cpu_quota(folder: str, quota_us: int) -> None:
    """The period stays."""
    write(folder, "cpu.max", str(quota_us))


def set_cpu_share(folder: str, share: float) -> None:
    """share: of one core, the weight against others when there are too few cores."""
    write(folder, "cpu.weight", str(min(10_000, max(1, round(100 * share)))))


def set_frozen(folder: str, frozen: bool) -> None:
    write(folder, "cgroup.freeze", str(int(frozen)))


def set_processes_limit(folder: str, processes: int) -> None:
    write(folder, "pids.max", str(processes))
