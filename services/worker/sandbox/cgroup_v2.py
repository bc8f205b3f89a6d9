"""Limits and counters by the control files of cgroup v2. Same functions as cgroup_v1. Raise OSError."""

from __future__ import annotations

from services.worker.sandbox.cgroup_files import read, read_keyed, write


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
    return read_keyed(folder, "memory.events", "oom_kill")


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
