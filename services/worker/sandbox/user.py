"""Becoming an unprivileged user for good. Python 3.8, standard library only."""

from __future__ import annotations

import os
from typing import Sequence

from . import libc

NAME = "sbx_user1051"
"""What functions on AWS see as their login name."""

_CAPABILITIES_MAX = 63
KILL = 5
"""CAP_KILL."""


def become_alone(uid: int) -> None:
    """In a fresh user namespace: take this uid, and a group of the same number, for the user that the parent's calls root. The
    groups that a user has besides stay, for none may be given up there. Raises OSError."""
    libc.set_dumpable(True)
    for name, text in (("setgroups", "deny"), ("uid_map", "%d 0 1" % uid), ("gid_map", "%d 0 1" % uid)):
        with open("/proc/self/" + name, "w", encoding="ascii") as file:
            file.write(text)


def drop_privileges(uid: int) -> None:
    """Take uid and a group of the same number, no other group, no capability in any set, and no way to gain any. Who became it
    alone has uid and group already.

    Raises OSError; the caller must then end without running anything else.
    """
    drop_bounding_set()
    alone = os.getresuid() == (uid, uid, uid)
    if not alone:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.clear_ambient_capabilities()
    libc.clear_capabilities()
    libc.set_no_new_privileges()
    # A change of user makes /proc/self root's; programs open their own /proc/self/fd entries (/dev/stdout).
    libc.set_dumpable(True)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or (os.getgroups() and not alone):
        raise OSError(1, "the user was not changed")


def drop_bounding_set(keep: Sequence[int] = ()) -> None:
    """What no program that is executed from now on can have, but for `keep`. In the zygote, once: a drop makes the kernel copy
    the credentials, and forty of them are most of what giving privileges up takes."""
    for capability in range(_CAPABILITIES_MAX + 1):
        # One that could not be dropped is caught by no_new_privs and the empty sets.
        if capability not in keep and not libc.drop_bounding_capability(capability):
            return


def accounts(uid: int) -> dict[str, str]:
    """{path: text} of the files that say who a sandbox of this uid is."""
    return {
        "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\n%s:x:%d:%d::/home/%s:/sbin/nologin\n" % (NAME, uid, uid, NAME),
        "/etc/group": "root:x:0:\n%s:x:%d:\n" % (NAME, uid),
    }
