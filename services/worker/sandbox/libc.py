"""System calls that Python 3.8's standard library lacks, by ctypes. Python 3.8, standard library only.

Every function raises OSError with the call's name.
"""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_HELD = ctypes.PyDLL(None, use_errno=True)
"""The same library, called without letting go of the interpreter's lock: what a fork needs."""

_SYSCALLS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91},
}
_MACHINE = os.uname().machine
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _PIDFD_OPEN, _CLOSE_RANGE = 429, 430, 431, 432, 434, 436
_AT_FDCWD = -100
_CAPABILITIES_OF_CALLER = (ctypes.c_uint32 * 2)(0x20080522, 0)
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()
"""Made once: to make a type takes longer than the call."""
_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG, _PR_CAP_AMBIENT = (
    4,
    23,
    24,
    38,
    1,
    47,
)


def _number(name: str) -> int:
    if _MACHINE not in _SYSCALLS:
        raise OSError(38, "sandboxes are not supported on this architecture", _MACHINE)
    return _SYSCALLS[_MACHINE][name]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))
    return result


def _syscall(what: str, number: int, *arguments: object) -> int:
    return _checked(int(_LIBC.syscall(ctypes.c_long(number), *arguments)), what)


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def clone_process(flags: int) -> tuple[int, int]:
    """fork() with namespace flags: (0, -1) in the child, (pid, pidfd) in the parent. Single-threaded callers only.

    The interpreter's hooks around a fork are left out: they write to half a megabyte that the child then no longer shares,
    for locks and random numbers that a single thread which only forks once more, with them, does not use.
    """
    pidfd = ctypes.c_int(-1)
    clone_pidfd, sigchld = 0x1000, 17
    number, all_flags = ctypes.c_long(_number("clone")), ctypes.c_long(flags | clone_pidfd | sigchld)
    pid = _checked(int(_HELD.syscall(number, all_flags, None, ctypes.byref(pidfd), None, None)), "clone into new namespaces")
    return (0, -1) if pid == 0 else (pid, pidfd.value)


def pidfd_of(pid: int) -> int:
    return _syscall("pidfd_open", _PIDFD_OPEN, ctypes.c_int(pid), ctypes.c_uint(0))


def send_signal_value(pid: int, number: int, value: int) -> None:
    _checked(_LIBC.sigqueue(ctypes.c_int(pid), ctypes.c_int(number), ctypes.c_void_p(value)), "sigqueue")


def unshare(flags: int) -> None:
    _checked(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def setns(namespace_fd: int, kind: int) -> None:
    _checked(_LIBC.setns(ctypes.c_int(namespace_fd), ctypes.c_int(kind)), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    result = _LIBC.mount(_text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(data))
    _checked(result, "mount " + target)


def unmount(target: str, flags: int = 0) -> None:
    _checked(_LIBC.umount2(_text(target), ctypes.c_int(flags)), "umount " + target)


def pivot_root(new_root: str, old_root: str) -> None:
    _syscall("pivot_root", _number("pivot_root"), _text(new_root), _text(old_root))


def move_mount(mount_fd: int, target: str) -> None:
    from_empty_path = 0x04
    _syscall(
        "move_mount " + target,
        _MOVE_MOUNT,
        ctypes.c_int(mount_fd),
        b"",
        ctypes.c_int(_AT_FDCWD),
        _text(target),
        ctypes.c_uint(from_empty_path),
    )


def mount_detached(kind: str, options: dict[str, str], attributes: int, read_only: bool = True) -> int:
    """A new file system as a mount that is nowhere yet: its descriptor. attributes: MOUNT_ATTR_*, which READ_ONLY, NO_SUID and
    NO_DEV of mounts.py are, too."""
    close_on_exec, set_flag, set_string, create = 1, 0, 1, 6
    context = _syscall("fsopen " + kind, _FSOPEN, _text(kind), ctypes.c_uint(close_on_exec))
    try:
        if read_only:
            _configure(context, set_flag, "ro", None)
        for name, value in options.items():
            _configure(context, set_string, name, value)
        _configure(context, create, None, None)
        return _syscall("fsmount", _FSMOUNT, ctypes.c_int(context), ctypes.c_uint(close_on_exec), ctypes.c_uint(attributes))
    finally:
        os.close(context)


def _configure(context: int, command: int, name: str | None, value: str | None) -> None:
    key = _text(name)
    _syscall("fsconfig", _FSCONFIG, ctypes.c_int(context), ctypes.c_uint(command), key, _text(value), ctypes.c_int(0))


def prctl(option: int, second: int = 0, third: int = 0, fourth: int = 0, fifth: int = 0) -> int:
    arguments = (ctypes.c_ulong(value) for value in (second, third, fourth, fifth))
    return _checked(_LIBC.prctl(ctypes.c_int(option), *arguments), "prctl %d" % option)


def set_dumpable(dumpable: bool) -> None:
    prctl(_PR_SET_DUMPABLE, int(dumpable))


def set_parent_death_signal(number: int) -> None:
    prctl(_PR_SET_PDEATHSIG, number)


def set_no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_capability(capability: int) -> bool:
    """False past the kernel's last capability. One that is gone already costs a twentieth of a drop."""
    try:
        if prctl(_PR_CAPBSET_READ, capability):
            prctl(_PR_CAPBSET_DROP, capability)
    except OSError:
        return False
    return True


def clear_ambient_capabilities() -> None:
    clear_all = 4
    prctl(_PR_CAP_AMBIENT, clear_all)


def clear_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets."""
    _syscall("capset", _number("capset"), ctypes.byref(_CAPABILITIES_OF_CALLER), ctypes.byref(_NO_CAPABILITIES))


def close_fds_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    result = int(_LIBC.syscall(ctypes.c_long(_CLOSE_RANGE), ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), ctypes.c_uint(0)))
    if result != 0:
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
