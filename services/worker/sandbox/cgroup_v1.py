"""Limits and counters by the control files of cgroup v1. Same functions as cgroup_v2. Raise OSError."""

from __future__ import annotations

import errno
import os

from services.worker.sandbox.cgroup_files import read, read_keyed, write

_SOCKET_LIMIT = "memory.kmem.tcp.limit_in_bytes"


def set_memory_limit(folder: str, limit_bytes: int) -> None:
    """Bound memory, and memory and swap together where the kernel counts swap, so that nothing moves to swap."""
    write(folder, "memory.limit_in_bytes", str(limit_bytes))
    try:
        write(folder, "memory.memsw.limit_in_bytes", str(limit_bytes))
    except FileNotFoundError:
        pass


def counts_sockets(folder: str) -> bool:
    return os.path.exists(f"{folder}/{_SOCKET_LIMIT}")


def set_socket_limit(folder: str, limit_bytes: int) -> None:
    """A counter of its own here, in spite of its name of UDP too, which counts nothing until it has a limit."""
    write(folder, _SOCKET_LIMIT, str(limit_bytes))


def memory_bound(folder: str) -> int | None:
    """Of the cgroup and all above it."""
    return read_keyed(folder, "memory.stat", "hierarchical_memory_limit") or None


def keep_out_of_swap(folder: str) -> None:
    """As far as the kernel may choose; cgroups made below it are the same."""
    write(folder, "memory.swappiness", "0")


def used_bytes(folder: str) -> int:
    return int(read(folder, "memory.usage_in_bytes"))


def reclaimable_bytes(folder: str) -> int:
    """Of what is in use by the cgroup and all below it: files that are read again when they are needed."""
    return sum(read_keyed(folder, "memory.stat", f"total_{kind}_file") for kind in ("active", "inactive"))


def squeeze(folder: str, limit_bytes: int, limit_after_bytes: int) -> bool:
    """The kernel refuses a limit that it cannot reclaim down to."""
    try:
        write(folder, "memory.limit_in_bytes", str(limit_bytes))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    write(folder, "memory.limit_in_bytes", str(limit_after_bytes))
    return True


class MemoryAlarm:
    """Thresholds of the memory in use. See `memory_watch.Alarm`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.fd = -1

    def set(self, above_bytes: int, below_bytes: int | None) -> None:
        self.close()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        usage_fd = os.open(f"{self._folder}/memory.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for mark in (above_bytes, below_bytes):
                if mark is not None:
                    write(self._folder, "cgroup.event_control", f"{self.fd} {usage_fd} {mark}")
        finally:
            os.close(usage_fd)

    def close(self) -> None:
        """The kernel forgets the thresholds of an event descriptor that is closed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def reset_peak(folder: str) -> None:
    write(folder, "memory.max_usage_in_bytes", "0")


def peak_bytes(folder: str) -> int:
    return int(read(folder, "memory.max_usage_in_bytes"))


def out_of_memory_kills(folder: str) -> int:
    return read_keyed(folder, "memory.oom_control", "oom_kill")


def set_cpu_period(folder: str, period_us: int) -> None:
    write(folder, "cpu.cfs_period_us", str(period_us))


def set_cpu_quota(folder: str, quota_us: int) -> None:
    write(folder, "cpu.cfs_quota_us", str(quota_us))


def set_cpu_share(folder: str, share: float) -> None:
    """share: of one core, the weight against others when there are too few cores."""
    write(folder, "cpu.shares", str(max(2, round(1024 * share))))


def set_frozen(folder: str, frozen: bool) -> None:
    write(folder, "freezer.state", "FROZEN" if frozen else "THAWED")


def set_processes_limit(folder: str, processes: int) -> None:
    write(folder, "pids.max", str(processes))
