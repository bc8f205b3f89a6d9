"""What a runtime has in memory that is charged to others: pages that it shares with what it was forked from, and with whatever
else has the same files open.

On AWS, where nothing is shared, it is the function's: a runtime alone is some 30 MB. So it is part of what is reported, and of
what may not be more than the configured memory.
"""

from __future__ import annotations

import os
from pathlib import Path

from services.worker.sandbox.cgroups import Cgroup

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def shared_bytes(cgroup: Cgroup) -> int:
    """Of the processes in it, less what is charged to it. Raises OSError."""
    return max(0, sum(_resident_bytes(pid) for pid in cgroup.processes()) - cgroup.used_bytes())


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
