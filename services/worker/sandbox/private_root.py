"""The root of one sandbox: views of its own of what the zygote collected (rootfs.py). Python 3.8, standard library only.

An overlay's files are its own, though their contents are shared: what a function watches (inotify), locks (flock) or has
written out (fsync) there is seen by, and keeps waiting, nobody else. And nothing shows where on the host a file lies.
"""

from __future__ import annotations

import json
import os

from . import host_folders, libc
from .mounts import BIND, NO_DEV, NO_SUID, OWN, READ_ONLY, REMOUNT, SANDBOX
from .rootfs import DEVICES, LAYOUT

_layout: dict[str, list[str] | str] = {}
_devices: list[str] = []


def prepare() -> None:
    """In the zygote, once it lives in its root: find out what there is, and whether this kernel can. Raises OSError."""
    with open(LAYOUT, encoding="ascii") as file:
        _layout.update(json.load(file))
    if os.path.isdir(DEVICES):
        _devices.extend(os.listdir(DEVICES))


def make() -> None:
    """In a sandbox's init: mount the root at SANDBOX. Raises OSError, as all here do."""
    for path, made_of in _layout.items():
        if isinstance(made_of, str):
            libc.mount(SANDBOX + made_of, SANDBOX + path, None, BIND)
        elif host_folders.HOST in made_of:
            host_folders.mount_for_sandbox(made_of)
        else:
            _overlay(made_of, SANDBOX + path)
    if not _devices:
        libc.mount(SANDBOX + "/dev", SANDBOX + "/dev", None, BIND)
        libc.mount(None, SANDBOX + "/dev", None, BIND | REMOUNT | READ_ONLY | NO_SUID)
    for name in _devices:
        libc.mount(DEVICES + "/" + name, SANDBOX + "/dev/" + name, None, BIND)


def place(uid: int, path: str, text: str) -> int:
    """Show the text as a file that no other sandbox sees. A descriptor that it can be written by, the caller's to close.

    The file has no name but the mount, so that the sandbox's end frees it: what holds it is shared by all sandboxes of a
    zygote, and one that filled it up could fork no more.
    """
    made = "%s/%d%s" % (OWN, uid, path.replace("/", "."))
    fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode("ascii"))
        libc.mount(made, SANDBOX + path, None, BIND)
        if _devices:
            # A sandbox of a user namespace owns it.
            libc.mount(None, SANDBOX + path, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV)
    finally:
        os.unlink(made)
    return fd


def enter() -> None:
    # Not pivot_root: with the zygote's root unmounted, the interpreter that it runs would have no path any more. Nothing is
    # left open that leads out, and no one here has, or gets, the right to change the root again.
    os.chroot(SANDBOX)
    os.chdir("/")


def _overlay(layers: list[str], place: str) -> None:
    libc.mount("overlay", place, "overlay", READ_ONLY | NO_SUID | NO_DEV, "lowerdir=" + ":".join(layers))
