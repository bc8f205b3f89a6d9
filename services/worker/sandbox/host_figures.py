"""What /proc shows of the whole machine, made up for a sandbox. Python 3.8, standard library only.

The kernel has one /proc/meminfo, stat, loadavg for all: how busy the host is, and with what. A function sees its own memory and
an idle machine. Times of day and since boot, the processor's kind and the kernel's version are the host's: calls without a file
tell them, too.
"""

from __future__ import annotations

import os

FOLDER = "/.lambdad/proc"
MEMORY = "/proc/meminfo"
"""Each sandbox has its own."""

_MEMORY_LINES = (
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "SwapCached",
    "Active",
    "Inactive",
    "SwapTotal",
    "SwapFree",
)
_FULL = ("MemTotal", "MemFree", "MemAvailable")


def memory(memory_mb: int) -> str:
    """The text of /proc/meminfo for a function of this size; as long for each of them."""
    return "".join("%-15s %8d kB\n" % (name + ":", memory_mb * 1024 if name in _FULL else 0) for name in _MEMORY_LINES)


def constant() -> dict[str, str]:
    """{name in /proc: text} of the files that are the same in all sandboxes. Made while the host's /proc is there."""
    return {
        "cgroups": _cgroups(),
        "diskstats": "",
        "loadavg": "0.00 0.00 0.00 1/1 1\n",
        "partitions": "",
        "stat": _stat(),
        "swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        "vmstat": "pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\noom_kill 0\n",
    }


def _stat() -> str:
    cpus = ["cpu "] + ["cpu%d" % number for number in range(os.cpu_count() or 1)]
    boot = "btime 0"
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            if line.startswith("btime "):
                boot = line.rstrip("\n")
    lines = ["%s 0 0 0 0 0 0 0 0 0 0" % name for name in cpus]
    return "\n".join([*lines, "intr 0", "ctxt 0", boot, "processes 0", "procs_running 1", "procs_blocked 0", ""])


def _cgroups() -> str:
    """Controllers, as the host has them, without how many groups there are of each."""
    lines = []
    with open("/proc/cgroups", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if not line.startswith("#") and len(fields) == 4:
                line = "%s\t%s\t1\t%s\n" % (fields[0], fields[1], fields[3])
            lines.append(line)
    return "".join(lines)
