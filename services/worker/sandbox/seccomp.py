"""Which system calls a function may make, as a seccomp filter (classic BPF). Python 3.8, standard library only.

An allow-list: a call in no list answers ENOSYS, as on a kernel that lacks it, so that libraries fall back; a call refused by
name answers EPERM. clone() passes without namespace flags only, socket() for UNIX, IPv4 and IPv6 only, personality() only as
a question. A call of another architecture (or x32) ends the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import List, Tuple

from . import libc
from .syscall_numbers import ALLOWED, CONDITIONAL, DENIED

_LD_ABS, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME's bit, which no legal exit signal has."""
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6."""
_PERSONALITY_QUERY = 0xFFFFFFFF
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = Tuple[int, int, int, int]


def build(machine: str) -> bytes:
    """The filter's instructions for x86_64 or aarch64. Raises KeyError for any other machine."""
    column = 0 if machine == "x86_64" else 1
    program: List[Instruction] = [
        (_LD_ABS, 0, 0, _OFFSET_ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD_ABS, 0, 0, _OFFSET_NUMBER),
    ]
    for numbers in ALLOWED.values():
        if numbers[column] is not None:
            program += [(_JEQ, 0, 1, numbers[column] or 0), (_RET, 0, 0, _ALLOW)]
    for name, numbers in CONDITIONAL.items():
        check = _CHECKS[name]()
        program += [(_JEQ, 0, len(check), numbers[column] or 0), *check]
    for name, numbers in DENIED.items():
        if numbers[column] is not None:
            # clone3's flags lie in memory, out of a filter's sight: libraries fall back to clone() on ENOSYS.
            refusal = errno.ENOSYS if name == "clone3" else errno.EPERM
            program += [(_JEQ, 0, 1, numbers[column] or 0), (_RET, 0, 0, _ERRNO | refusal)]
    program.append((_RET, 0, 0, _ERRNO | errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _check_clone() -> List[Instruction]:
    return [
        (_LD_ABS, 0, 0, _OFFSET_ARGS),
        (_JSET, 0, 1, _NAMESPACE_FLAGS),
        (_RET, 0, 0, _ERRNO | errno.EPERM),
        (_RET, 0, 0, _ALLOW),
    ]


def _check_family() -> List[Instruction]:
    program: List[Instruction] = [(_LD_ABS, 0, 0, _OFFSET_ARGS)]
    for family in _FAMILIES:
        program += [(_JEQ, 0, 1, family), (_RET, 0, 0, _ALLOW)]
    return [*program, (_RET, 0, 0, _ERRNO | errno.EAFNOSUPPORT)]


def _check_personality() -> List[Instruction]:
    return [
        (_LD_ABS, 0, 0, _OFFSET_ARGS),
        (_JEQ, 0, 1, _PERSONALITY_QUERY),
        (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _ERRNO | errno.EPERM),
    ]


_CHECKS = {"clone": _check_clone, "socket": _check_family, "socketpair": _check_family, "personality": _check_personality}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def load(program: bytes) -> None:
    """Put this process and all it starts under the filter, for good. Needs no_new_privs. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(buffer))
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))


def machine() -> str:
    return os.uname().machine
