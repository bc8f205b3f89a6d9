"""Whether this process's root directory lets sandboxes have file systems of their own."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_MOUNT_POINT = 4


def root_problem() -> str | None:
    """What to change, or None. In a chroot into a plain folder the kernel refuses private views: its root is no mount."""
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
