"""What one sandbox mounts over the zygote's read-only root. Python 3.8, standard library only.

attach_* run in the sandbox's init; detached_copy runs in the worker and makes what init attaches.
"""

from __future__ import annotations

import os

from . import libc

READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, RECURSIVE = 1, 2, 4, 8, 32, 4096, 16384

CODE = "/var/task"
LAYERS = "/opt"
ACCOUNTS = "/.accounts"
"""Folder of the zygote's root where sandboxes that are being made write their passwd and group files."""
EMPTY = "/.empty"
WARM_UP = "/.warm-up"
"""Folder of the zygote's root with the function that runtimes run once before they have one."""

_TMP_INODES_PER_MB = 256
_MASKED_FILES = (
    "cmdline",
    "config.gz",
    "interrupts",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "modules",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
)
_MASKED_FOLDERS = ("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "sysvipc")


def attach_proc() -> None:
    """A fresh /proc that shows the caller's pid namespace, to each user only its own processes, and nothing of the host's
    hardware or keys. /proc/sys cannot be written."""
    libc.mount("proc", "/proc", "proc", NO_SUID | NO_DEV | NO_EXEC, "hidepid=2")
    for name in _MASKED_FILES:
        if os.path.exists("/proc/" + name):
            libc.mount("/dev/null", "/proc/" + name, None, BIND)
    for name in _MASKED_FOLDERS:
        if os.path.isdir("/proc/" + name):
            libc.mount(EMPTY, "/proc/" + name, None, BIND)
    libc.mount("/proc/sys", "/proc/sys", None, BIND | RECURSIVE)
    libc.mount(None, "/proc/sys", None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)


def attach_tmp(size_mb: int) -> None:
    libc.mount("tmpfs", "/tmp", "tmpfs", NO_SUID | NO_DEV, _tmp_options(size_mb))


def resize_tmp(size_mb: int) -> None:
    libc.mount(None, "/tmp", None, REMOUNT | NO_SUID | NO_DEV, _tmp_options(size_mb))


def _tmp_options(size_mb: int) -> str:
    return "size=%dm,mode=1777,nr_inodes=%d" % (size_mb, size_mb * _TMP_INODES_PER_MB)


def attach_accounts(uid: int, texts: dict[str, str]) -> None:
    """Show the texts as files in /etc. The files have no name but the mount, so that the sandbox's end frees them: the
    root's memory is shared by all sandboxes of a zygote, and one that filled up could fork no more."""
    for name, text in texts.items():
        path = "%s/%d.%s" % (ACCOUNTS, uid, name)
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            libc.mount(path, "/etc/" + name, None, BIND)
        finally:
            os.unlink(path)


def lock_root() -> None:
    libc.mount(None, "/", None, BIND | REMOUNT | READ_ONLY | NO_SUID)


def detached_copy(path: str) -> int:
    """A read-only view of the folder as a mount that is nowhere yet: a descriptor to send to a sandbox. Raises OSError."""
    clone, close_on_exec = 1, os.O_CLOEXEC
    mount_fd = libc.open_tree(path, clone | close_on_exec)
    try:
        libc.mount_setattr(mount_fd, READ_ONLY | NO_SUID | NO_DEV)
    except OSError:
        os.close(mount_fd)
        raise
    return mount_fd


def attach(mount_fd: int, target: str) -> None:
    libc.move_mount(mount_fd, target)
