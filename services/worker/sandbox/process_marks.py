"""What the kernel keeps of each process and hands down to its children. Python 3.8, standard library only."""

from __future__ import annotations

from . import libc
from .mounts import BIND, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY, REMOUNT

_OOM_SCORE = 500
"""As if a process had half of the machine's memory more than it has: when memory ends, a function's go first of all."""


def fix(uid: int) -> None:
    """In a sandbox's init, for itself and every process that comes of it. Without CAP_SYS_RESOURCE, as in containers, the
    kernel lets any process take such a score back: so nothing in the sandbox's /proc can be written any more."""
    _write("/proc", uid)
    libc.mount(None, "/proc", None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)


def fix_again(uid: int, proc: str) -> None:
    """In a process that came into the sandbox, whose /proc cannot be written. proc: another one."""
    _write(proc, uid)


def _write(proc: str, uid: int) -> None:
    _write_one(proc + "/self/oom_score_adj", _OOM_SCORE)
    try:
        _write_one(proc + "/self/loginuid", uid)  # Whom the kernel's audit names.
    except OSError:
        pass  # Kernels without audit have no such file.


def _write_one(path: str, value: int) -> None:
    with open(path, "wb", 0) as file:
        file.write(b"%d" % value)
