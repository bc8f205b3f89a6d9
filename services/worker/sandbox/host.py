"""What a host must be for sandboxes to be closed, beyond control groups (cgroups.py) and what its kernel has."""

from __future__ import annotations

import shutil
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
_MOUNT_POINT = 4


def host_problems() -> list[str]:
    """What to change, all of it."""
    return [problem for problem in (_root_problem(), _core_problem(), _shell_problem()) if problem is not None]


def _root_problem() -> str | None:
    """In a chroot into a plain folder the kernel refuses private views: its root is no mount."""
    try:
        mounts = MOUNTS.read_text().splitlines()
    except OSError:
        return "There is no /proc here: mount it (mount -t proc proc /proc)."
    if any(line.split()[_MOUNT_POINT] == "/" for line in mounts):
        return None
    return (
        "The root directory is no mount point (a chroot into a plain folder?), so functions cannot be given file systems of "
        "their own. Outside, make the folder one before entering it: mount --bind FOLDER FOLDER"
    )


def _core_problem() -> str | None:
    """A pattern that names a program is kept from functions by their limits; one that names a socket is not."""
    try:
        pattern = CORE_PATTERN.read_text()
    except OSError:
        return None
    if not pattern.startswith("@"):
        return None
    return (
        "The kernel hands every crashing process to the socket that kernel.core_pattern names, functions too. Name a file or a "
        "program there: sysctl kernel.core_pattern=core"
    )


def _shell_problem() -> str | None:
    if shutil.which("bash", path="/usr/bin:/bin") is not None:
        return None
    return "There is no bash in /usr/bin or /bin, which is what functions have as /bin/sh: install bash."
