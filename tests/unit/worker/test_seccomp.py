"""The filter's program, run by hand as the kernel would, for every call's number and the arguments that matter."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from services.worker.sandbox import seccomp
from services.worker.sandbox.syscall_numbers import ALLOWED, CONDITIONAL, DENIED, IGNORED

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
ALLOW, KILL = 0x7FFF0000, 0x80000000
X32 = 0x40000000


def refusal(number: int) -> int:
    return 0x00050000 | number


def answer(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What a filter says of a call; only instructions that ours are made of."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, when_true, when_false, k = instructions[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, k)
            case 0x54:
                value &= k
            case 0x15:
                at += when_true if value == k else when_false
            case 0x35:
                at += when_true if value >= k else when_false
            case 0x45:
                at += when_true if value & k else when_false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"an instruction of another kind: {code:#x}")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_gets_the_answer_of_the_list_that_it_is_in(machine: str) -> None:
    column, arch = MACHINES[machine]
    program = seccomp.build(machine)
    expected = {numbers[column]: ALLOW for numbers in ALLOWED.values()}
    expected |= {numbers[column]: refusal(0) for numbers in IGNORED.values()}
    for name, numbers in DENIED.items():
        expected[numbers[column]] = refusal(errno.ENOSYS if name == "clone3" else errno.EPERM)
    conditional = {numbers[column] for numbers in CONDITIONAL.values()}
    for number in {*range(1_000), 0xFFFFFFFF, *(X32 | number for number in range(1_000))} - conditional:
        assert answer(program, arch, number) == expected.get(number, refusal(errno.ENOSYS)), number


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    _, arch = MACHINES[machine]
    for number in range(1_000):
        assert answer(seccomp.build(machine), arch ^ 1, number) == KILL


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (17,), ALLOW),
        *[("clone", (17 | flag,), refusal(errno.EPERM)) for flag in (0x20000, 0x10000000, 0x20000000, 0x40000000, 0x80)],
        ("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 0), ALLOW),
        ("socket", (socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 17), ALLOW),
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 132), refusal(errno.EPROTONOSUPPORT)),
        ("socket", (socket.AF_INET, socket.SOCK_SEQPACKET, 0), refusal(errno.ESOCKTNOSUPPORT)),
        ("socketpair", (socket.AF_NETLINK, socket.SOCK_RAW, 0), refusal(errno.EAFNOSUPPORT)),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x40000,), refusal(errno.EPERM)),
        ("setrlimit", (4,), refusal(0)),
        ("setrlimit", (7,), ALLOW),
        ("prlimit64", (0, 4, 0, 1), ALLOW),
        ("prlimit64", (0, 4, 1), refusal(0)),
        ("prlimit64", (0, 7, 1), ALLOW),
        ("fadvise64", (3, 0, 0, 4), refusal(0)),
        ("fadvise64", (3, 0, 0, 3), ALLOW),
    ],
)
def test_what_passes_with_some_arguments_only(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    column, arch = MACHINES[machine]
    number = CONDITIONAL[name][column]
    assert number is not None
    assert answer(seccomp.build(machine), arch, number, arguments) == expected
