"""What a sandbox's init mounts in its root. Python 3.8, standard library only."""

from __future__ import annotations

import os

from . import host_figures, libc

READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE = 1, 2, 4, 8, 32, 4096, 16384

CODE = "/var/task"
LAYERS = "/opt"
EXTENSIONS = LAYERS + "/extensions"
"""Each program in there is an extension."""
LIBRARY_PATH = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
"""LD_LIBRARY_PATH, as on AWS. A program reads it when it is executed: who is executed ahead of need has it from the start."""

SANDBOX = "/.sandbox"
"""Where a sandbox mounts its root in the zygote's."""
OWN = "/.own"
"""Folder of the zygote's root where sandboxes that are being made write files of their own."""
SLEEPER = OWN + "/sleeper"
EMPTY = "/.lambdad/empty"
WARM_UP = "/.lambdad/warm-up"
"""Folder with the function that runtimes run once before they have one."""

TMP_INODES_PER_MB = 256
_MASKED_FILES = (
    "cmdline",
    "config.gz",
    "interrupts",
    "buddyinfo",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "mdstat",
    "modules",
    "sched_debug",
    "schedstat",
    "softirqs",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
    "zoneinfo",
    "sys/fs/aio-nr",
    "sys/fs/dentry-state",
    "sys/fs/file-nr",
    "sys/fs/inode-nr",
    "sys/fs/inode-state",
)
_MASKED_FOLDERS = ("acpi", "asound", "bus", "driver", "fs", "irq", "pressure", "scsi", "sysvipc")


def attach_proc(root: str) -> None:
    """A fresh /proc that shows the caller's pid namespace, to each user only its own processes, and nothing of the host's
    hardware, keys or load. /proc/sys cannot be written."""
    proc, figures = root + "/proc/", root + host_figures.FOLDER + "/"
    libc.mount("proc", proc, "proc", NO_SUID | NO_DEV | NO_EXEC, "hidepid=2")
    libc.mount(proc + "sys", proc + "sys", None, BIND)
    libc.mount(None, proc + "sys", None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)
    for name in _MASKED_FILES:
        _cover(proc + name, root + "/dev/null")
    for name in _MASKED_FOLDERS:
        _cover(proc + name, root + EMPTY)
    for name in os.listdir(figures):
        _cover(proc + name, figures + name)


def own_proc() -> int:
    """A /proc that can be written, for the caller alone: the descriptor of a mount that is nowhere."""
    return libc.mount_detached("proc", {}, NO_SUID | NO_DEV | NO_EXEC, read_only=False)


def _cover(place: str, source: str) -> None:
    try:
        libc.mount(source, place, None, BIND)
    except FileNotFoundError:
        pass  # This kernel has no such file.


def attach_tmp(size_mb: int) -> None:
    libc.mount("tmpfs", "/tmp", "tmpfs", NO_SUID | NO_DEV, _tmp_options(size_mb))


def resize_tmp(size_mb: int) -> None:
    libc.mount(None, "/tmp", None, REMOUNT | NO_SUID | NO_DEV, _tmp_options(size_mb))


def _tmp_options(size_mb: int) -> str:
    return "size=%dm,mode=1777,nr_inodes=%d" % (size_mb, size_mb * TMP_INODES_PER_MB)


def attach_nothing(target: str) -> None:
    libc.mount(EMPTY, target, None, BIND)


def attach(mount_fd: int, target: str) -> None:
    libc.move_mount(mount_fd, target)
