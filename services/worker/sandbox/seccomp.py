"""Which system calls a function may make, as a seccomp filter (classic BPF). Python 3.8, standard library only.

An allow-list: a call in no list answers ENOSYS, as on a kernel that lacks it, so that libraries fall back (x32 calls are
among them); a call refused by name answers EPERM, one that is ignored answers 0. clone() passes without namespace flags only,
socket() for UNIX, TCP and UDP sockets only, personality() only as a question; RLIMIT_CORE stays as it is, and nothing is
dropped from the page cache. A call of another architecture (int 0x80) ends the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Dict, List, Optional, Tuple

from . import libc
from .syscall_numbers import ALLOWED, CONDITIONAL, DENIED, IGNORED

_LD_ABS, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_JUMP_MAX = 255
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME's bit, which no legal exit signal has."""
_UNIX, _INTERNET = 1, (2, 10)
"""AF_UNIX; AF_INET, AF_INET6."""
_TYPE_MASK = 0xF
"""Of socket()'s second argument, without SOCK_CLOEXEC and SOCK_NONBLOCK."""
_RAW = 3
_PROTOCOLS = {1: (0, 6), 2: (0, 17)}
"""Of a stream: any, TCP; of datagrams: any, UDP. For every other pair the kernel looks for a module, on the host, each time."""
_RLIMIT_CORE = 4
_DONT_NEED = 4
"""POSIX_FADV_DONTNEED: of a file that others read, too, it would have the host read it from the disk again."""
_PERSONALITY_QUERY = 0xFFFFFFFF
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = Tuple[int, int, int, int]
Block = List[Instruction]
"""Instructions that end with an answer, whichever way they are gone through."""


def build(machine: str) -> bytes:
    """The filter's instructions for x86_64 or aarch64. Raises KeyError for any other machine.

    A search tree: while a filter is loaded, the kernel runs it for every call there is, and each sandbox loads it. In a tree
    that takes a fifth of the time that it takes in a list.
    """
    program: List[Instruction] = [
        (_LD_ABS, 0, 0, _OFFSET_ARCH),
        (_JEQ, 1, 0, _AUDIT_ARCH[machine]),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD_ABS, 0, 0, _OFFSET_NUMBER),
        *_tree(_ranges(_blocks(0 if machine == "x86_64" else 1))),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _blocks(column: int) -> Dict[int, Block]:
    """What each call's number leads to."""
    blocks: Dict[int, Block] = {}
    for name, numbers in CONDITIONAL.items():
        _put(blocks, numbers[column], _CHECKS[name]())
    for numbers in ALLOWED.values():
        _put(blocks, numbers[column], [(_RET, 0, 0, _ALLOW)])
    for name, numbers in DENIED.items():
        # clone3's flags lie in memory, out of a filter's sight: libraries fall back to clone() on ENOSYS.
        refusal = errno.ENOSYS if name == "clone3" else errno.EPERM
        _put(blocks, numbers[column], [(_RET, 0, 0, _ERRNO | refusal)])
    for numbers in IGNORED.values():
        _put(blocks, numbers[column], [(_RET, 0, 0, _ERRNO)])
    return blocks


def _put(blocks: Dict[int, Block], number: Optional[int], block: Block) -> None:
    if number is not None:
        assert number not in blocks, number
        blocks[number] = block


def _ranges(blocks: Dict[int, Block]) -> List[Tuple[int, Block]]:
    """(first number, what it and all up to the next range's lead to), from 0 on; no number is left out."""
    unknown: Block = [(_RET, 0, 0, _ERRNO | errno.ENOSYS)]
    ranges: List[Tuple[int, Block]] = []
    for number in range(max(blocks) + 2):
        block = blocks.get(number, unknown)
        if not ranges or ranges[-1][1] != block:
            ranges.append((number, block))
    return ranges


def _tree(ranges: List[Tuple[int, Block]]) -> Block:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _tree(ranges[:middle]), _tree(ranges[middle:])
    assert len(below) <= _JUMP_MAX
    return [(_JGE, len(below), 0, ranges[middle][0]), *below, *above]


def _answer(number: int, answer: int) -> Block:
    return [(_JEQ, 0, 1, number), (_RET, 0, 0, answer)]


def _argument(position: int) -> Instruction:
    """Load the low half of a call's argument."""
    return (_LD_ABS, 0, 0, _OFFSET_ARGS + 8 * position)


def _check_clone() -> Block:
    return [
        _argument(0),
        (_JSET, 0, 1, _NAMESPACE_FLAGS),
        (_RET, 0, 0, _ERRNO | errno.EPERM),
        (_RET, 0, 0, _ALLOW),
    ]


def _check_socket() -> Block:
    """By family, then by type, then by protocol. Raw sockets are let through to the kernel, which refuses them."""
    types: List[Instruction] = [_argument(1), (_AND, 0, 0, _TYPE_MASK), *_answer(_RAW, _ALLOW)]
    for kind, protocols in _PROTOCOLS.items():
        checks = [_argument(2)]
        for protocol in protocols:
            checks += _answer(protocol, _ALLOW)
        checks.append((_RET, 0, 0, _ERRNO | errno.EPROTONOSUPPORT))
        types += [(_JEQ, 0, len(checks), kind), *checks]
    types.append((_RET, 0, 0, _ERRNO | errno.ESOCKTNOSUPPORT))
    refusal = (_RET, 0, 0, _ERRNO | errno.EAFNOSUPPORT)
    families = [_argument(0), *_answer(_UNIX, _ALLOW), (_JEQ, 2, 0, _INTERNET[0]), (_JEQ, 1, 0, _INTERNET[1]), refusal]
    return families + types


def _check_personality() -> Block:
    return [
        _argument(0),
        (_JEQ, 0, 1, _PERSONALITY_QUERY),
        (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _ERRNO | errno.EPERM),
    ]


def _check_setrlimit() -> Block:
    return [_argument(0), *_answer(_RLIMIT_CORE, _ERRNO), (_RET, 0, 0, _ALLOW)]


def _check_prlimit() -> Block:
    """Reading RLIMIT_CORE passes; setting it is ignored, and says that it is done (rlimits.py has why)."""
    new_limit, high_half = 2, 4
    return [
        _argument(1),
        (_JEQ, 1, 0, _RLIMIT_CORE),
        (_RET, 0, 0, _ALLOW),
        _argument(new_limit),
        (_JEQ, 0, 3, 0),
        (_LD_ABS, 0, 0, _OFFSET_ARGS + 8 * new_limit + high_half),
        (_JEQ, 0, 1, 0),
        (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _ERRNO),
    ]


def _check_advice() -> Block:
    return [_argument(3), *_answer(_DONT_NEED, _ERRNO), (_RET, 0, 0, _ALLOW)]


_CHECKS = {
    "clone": _check_clone,
    "socket": _check_socket,
    "socketpair": _check_socket,
    "personality": _check_personality,
    "setrlimit": _check_setrlimit,
    "prlimit64": _check_prlimit,
    "fadvise64": _check_advice,
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def load(program: bytes) -> None:
    """Put this process and all it starts under the filter, for good. Needs no_new_privs. Raises OSError."""
    header = _Program(len(program) // 8, program)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))


def machine() -> str:
    return os.uname().machine
