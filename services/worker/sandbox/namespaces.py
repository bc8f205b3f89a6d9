"""The namespaces of a sandbox. Python 3.8, standard library only."""

from __future__ import annotations

import os

from . import libc

NEW_USER = 0x10000000
NEW_MOUNT, NEW_CGROUP, NEW_UTS, NEW_IPC, NEW_PID, NEW_NET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
_FOLDER = 0x200
"""CLONE_FS"""
SANDBOX = NEW_MOUNT | NEW_UTS | NEW_IPC | NEW_PID
"""The network's is made ahead: init enters that of its slot."""


def has_one_user() -> bool:
    """Whether this process is in a user namespace that knows one user alone: its worker was not started by root (rootless.py).
    Zygotes' roots have a /proc only then."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            users = file.read().split()
    except FileNotFoundError:
        return False
    return len(users) == 3 and users[2] == "1"


def fork_into_sandbox(of_one_user: bool = False) -> tuple[int, int]:
    """Fork the sandbox's pid 1 into fresh namespaces: (0, -1) there, (pid, pidfd) here. of_one_user: see `has_one_user`; with a
    user namespace, and the network, which only those that it owns can be entered of."""
    return libc.clone_process(SANDBOX | NEW_USER | NEW_NET if of_one_user else SANDBOX)


def fork_sharing_folder() -> int:
    """Fork, with one working folder (and umask) for both: 0 in the child, its pid in the parent. It lasts beyond exec."""
    pid, pidfd = libc.clone_process(_FOLDER)
    if pid:
        os.close(pidfd)
    return pid


def leave_folder() -> None:
    """Have a working folder of one's own again, which is the same so far."""
    libc.unshare(_FOLDER)


def fork_into(init: int, own: int) -> tuple[int, int]:
    """Fork into the namespaces of a sandbox whose init has this pidfd: as `fork_into_sandbox`. own: the caller's pidfd."""
    libc.setns(init, NEW_PID)
    pid = -1
    try:
        pid, pidfd = libc.clone_process(0)
    finally:
        if pid != 0:
            libc.setns(own, NEW_PID)
    if pid == 0:
        libc.setns(init, NEW_MOUNT | NEW_UTS | NEW_IPC | NEW_NET)
    return pid, pidfd


def leave_mount_namespace() -> None:
    """Give the calling process its own mount table, from which nothing propagates."""
    libc.unshare(NEW_MOUNT)
    keep_mounts_private()


def keep_mounts_private() -> None:
    recursive, private = 0x4000, 1 << 18
    libc.mount(None, "/", None, recursive | private)


def hide_cgroup_path() -> None:
    """Make the cgroup that the caller is in the root of what it sees. Called after it joined its own."""
    libc.unshare(NEW_CGROUP)
