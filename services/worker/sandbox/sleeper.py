"""What a sandbox's pid 1 becomes once its function has been idle: a program of a few hundred bytes, for pid 1 lives as long as
the sandbox, and an interpreter takes nearly a megabyte. Python 3.8, standard library only.

It waits for signals, reaps whatever has ended, and says on descriptor 3 how the runtime process ended:

    SIGUSR1 with a value: this is the runtime's pid from now on
    SIGTERM: kill and reap all other processes, then say 0, 0
    protocol.ENDED (pid, status as waitpid gives it): what it says

Its source is sleeper_source/ARCHITECTURE.s, which was assembled to what is here: hosts need no assembler.
"""

from __future__ import annotations

import os
import signal
import struct

CONTROL_FD = 3
RUNTIME, KILL = signal.SIGUSR1, signal.SIGTERM
SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD)
"""Blocked before it is executed and by it, so that none is lost; the lowest number comes first."""

_ADDRESS = 0x400000
_MACHINES = {
    "x86_64": (
        62,
        "4881eca00000004531e4488d3da7000000488d74241031d241ba08000000b8800000000f0583f80a7507448b642428eb3a83f80f7535bfff"
        "ffffffbe09000000b83e0000000f0531d2e8350000007e0c4439e075f2e844000000ebeb48c7042400000000e835000000eb9fba01000000"
        "e80e0000007e934439e075efe81d000000ebe8bfffffffff488d74240c4531d2b83d0000000f058944240885c0c3bf03000000488d742408"
        "ba08000000b8010000000f05c30f1f000042010000000000",
    ),
    "aarch64": (
        183,
        "ff8302d11300805200060010e1430091020080d2030180d2281180d2010000d41f28007161000054f32b40b9110000141f3c0071e1010054"
        "00008092210180d2281080d2010000d4020080d210000094ad0000541f00136b81ffff5414000094faffff17ff0300f911000094e7ffff17"
        "220080d2060000948dfcff541f00136b81ffff540a000094faffff1700008092e1130091030080d2882080d2010000d4e00300b91f000071"
        "c0035fd6600080d2e1030091020180d2080880d2010000d4c0035fd61f2003d50042010000000000",
    ),
}


def write(path: str) -> None:
    """Make the program at this path, for root alone. Raises OSError where it is not known for this architecture."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o500)
    try:
        os.write(fd, program(os.uname().machine))
    finally:
        os.close(fd)


def program(machine: str) -> bytes:
    """An ELF file of its header, one segment that is read and executed, and the code."""
    if machine not in _MACHINES:
        raise OSError(38, "sandboxes are not supported on this architecture", machine)
    number, text = _MACHINES[machine]
    code = bytes.fromhex(text)
    head, segment = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
    at = head.size + segment.size
    size = at + len(code)
    identity = b"\x7fELF\x02\x01\x01"
    executable, load, read_execute, page = 2, 1, 5, 0x10000
    return (
        head.pack(identity, executable, number, 1, _ADDRESS + at, head.size, 0, 0, head.size, segment.size, 1, 0, 0, 0)
        + segment.pack(load, read_execute, 0, _ADDRESS, _ADDRESS, size, size, page)
        + code
    )
