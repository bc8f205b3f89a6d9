"""What all sandboxes of a worker may take of their host together, where the settings do not say."""

from __future__ import annotations

from pathlib import Path

import psutil

RESERVE_BYTES_MIN = 1024**3
RESERVE_SHARE = 1 / 8
"""Of the host's memory, left to the services, the engines and the kernel."""
PROCESSES_SHARE = 1 / 2


def memory_bytes(bound: int | None) -> int:
    """bound: of the worker's own cgroup, as a container has it."""
    total = int(psutil.virtual_memory().total)
    if bound is not None:
        total = min(total, bound)
    return max(total // 2, total - max(RESERVE_BYTES_MIN, int(total * RESERVE_SHARE)))


def processes() -> int:
    """Processes and threads."""
    most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    return int(most * PROCESSES_SHARE)
