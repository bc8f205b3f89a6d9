"""What a function must not be able to do to its host, or to others through it, with calls that need no privilege."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from tests.integration.sandbox.harness import Harness
from tests.security.test_isolation import probe

IO_SETUP, SYNC, SYNCFS, CACHESTAT = 206, 162, 306, 451
PAGES = 1_024

x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the probes name x86_64 call numbers")


@x86_64
async def test_the_hosts_asynchronous_io_contexts_cannot_be_used_up(harness: Harness) -> None:
    source = probe("return call(event, 1, ctypes.byref(ctypes.c_ulong()))")
    async with harness.running(source) as function:
        assert await function.result(IO_SETUP) == "ENOSYS"


@x86_64
async def test_the_host_cannot_be_made_to_write_its_file_systems_out(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "dirty"
    source = probe("return [[call(event[0]), call(event[1], 0)], os.sync()]")
    async with harness.running(source) as function:
        path.write_bytes(os.urandom(PAGES * 4096))
        _, before = _cached_and_dirty_pages(path)
        assert await function.result([SYNC, SYNCFS]) == [["allowed", "allowed"], None]
        assert _cached_and_dirty_pages(path)[1] == before > 0


async def test_the_host_cannot_be_made_to_read_shared_files_from_its_disk_again(harness: Harness) -> None:
    source = probe("""
        data = os.open("/var/task/data", os.O_RDONLY)
        return [len(os.read(data, event)), os.fsync(data), os.posix_fadvise(data, 0, 0, os.POSIX_FADV_DONTNEED)]
    """)
    tree = harness.write({"app.py": source, "data": os.urandom(PAGES * 4096)})
    with (tree / "data").open("rb") as data:
        os.fsync(data)
    async with harness.running(tree) as function:
        assert await function.result(PAGES * 4096) == [PAGES * 4096, None, None]
    assert _cached_and_dirty_pages(tree / "data")[0] == PAGES


def _cached_and_dirty_pages(path: Path) -> tuple[int, int]:
    counts = (ctypes.c_uint64 * 5)()
    with path.open("rb") as file:
        everything = (ctypes.c_uint64 * 2)(0, 0)
        if ctypes.CDLL(None).syscall(CACHESTAT, file.fileno(), everything, counts, 0) != 0:
            pytest.skip("needs cachestat, of Linux 6.5")
    return counts[0], counts[1]


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "answer"),
    [
        (2, 1, 0, "allowed"), (2, 1, 6, "allowed"), (10, 2, 17, "allowed"), (1, 1, 0, "allowed"), (1, 5, 0, "allowed"),
        (2, 1 | os.O_CLOEXEC | os.O_NONBLOCK, 6, "allowed"),
        (2, 1, 262, "EPROTONOSUPPORT"),  # MPTCP
        (2, 2, 136, "EPROTONOSUPPORT"),  # UDP-Lite
        (2, 1, 132, "EPROTONOSUPPORT"), (2, 5, 132, "ESOCKTNOSUPPORT"),  # SCTP
        (10, 6, 0, "ESOCKTNOSUPPORT"), (10, 6, 33, "ESOCKTNOSUPPORT"),  # DCCP
        (2, 2, 115, "EPROTONOSUPPORT"),  # L2TP
        (2, 1, 17, "EPROTONOSUPPORT"),  # no such pair: the kernel would look for a module
        (2, 2, 1, "EPROTONOSUPPORT"),  # ping, which takes a group that functions are not in
        (2, 3, 1, "EPERM"),
    ],
)  # fmt: skip
async def test_only_tcp_and_udp_are_spoken(harness: Harness, family: int, kind: int, protocol: int, answer: str) -> None:
    source = probe("return attempt(socket.socket, *event)")
    async with harness.running(source) as function:
        assert await function.result([family, kind, protocol]) == answer


async def test_a_crash_leaves_no_core_whatever_the_function_sets(harness: Harness) -> None:
    source = probe("""
        import resource
        os.chdir("/tmp")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        crash = subprocess.run([sys.executable, "-c", "import os; os.abort()"], capture_output=True)
        return [crash.returncode, os.listdir("/tmp"), resource.getrlimit(resource.RLIMIT_CORE)]
    """)
    async with harness.running(source) as function:
        # At 1, and at no other limit, the kernel starts no program for a core either.
        assert await function.result() == [-6, [], [1, 1]]


@x86_64
async def test_a_call_of_the_32_bit_architecture_ends_the_process(harness: Harness) -> None:
    getpid = "b814000000cd80c3"  # mov eax, 20; int 0x80; ret
    program = (
        "import ctypes, mmap; memory = mmap.mmap(-1, 4096, prot=7); "
        f"memory.write(bytes.fromhex('{getpid}')); "
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()"
    )
    source = probe("return subprocess.run([sys.executable, '-c', event]).returncode")
    async with harness.running(source) as function:
        assert await function.result(program) == -31  # SIGSYS
