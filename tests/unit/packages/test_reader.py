"""The same rules wherever a package is read, and bounds on the process that reads a large one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from shared.packages import child, reader, task
from shared.packages.archive import Archive, Contents
from shared.packages.reader import PackageReader
from shared.packages.refusals import PackageRefusedError, PackageUnreadableError, UnpackError
from tests import hostile_zips
from tests.hostile_zips import MIB, file, package, raw_zip
from tests.support import wait_until

LIMIT = 250 * MIB
HOSTILE = hostile_zips.BY_RULE | hostile_zips.UNREADABLE


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small, a process for each."""
    monkeypatch.setattr(reader, "SMALL_PACKAGE_BYTES_MAX", -1)


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.usefixtures("processes")
async def test_a_process_says_what_a_thread_would(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PackageRefusedError) as in_process:
        await PackageReader().check(HOSTILE[what], LIMIT)
    with pytest.raises(PackageRefusedError) as here:
        task.Task(None, LIMIT, reader.ENTRIES_MAX).carry_out(HOSTILE[what])
    assert (type(in_process.value), str(in_process.value)) == (type(here.value), str(here.value))


@pytest.mark.parametrize(
    "content", [package(file("a/b")), package(file("a", bytes(2 * MIB))), raw_zip([b"%d" % i for i in range(900)])]
)
async def test_a_package_is_unpacked_the_same_way_wherever_that_happens(tmp_path: Path, content: bytes) -> None:
    there = await PackageReader().unpack(content, tmp_path, LIMIT)
    assert there == await PackageReader().check(content, LIMIT)
    assert there == measured(tmp_path)


def measured(folder: Path) -> Contents:
    found = list(folder.rglob("*"))
    return Contents(sum(p.stat().st_size for p in found if p.is_file()), len(found))


async def test_what_is_small_only_while_it_is_packed_goes_to_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PROGRAM", "raise SystemExit('asked')")
    for content in (package(file("zeros", bytes(2 * MIB))), raw_zip([b"%d" % i for i in range(201)])):
        with pytest.raises(UnpackError, match="asked"):
            await PackageReader().check(content, LIMIT)
    assert await PackageReader().check(raw_zip([b"%d" % i for i in range(200)]), LIMIT) == Contents(0, 200)


async def test_the_event_loop_turns_while_the_largest_package_is_read() -> None:
    largest = raw_zip(b"%05d.py" % i for i in range(100_000))
    checking = asyncio.create_task(PackageReader().check(largest, LIMIT))
    longest_s, last = 0.0, time.monotonic()
    while not checking.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        longest_s, last = max(longest_s, now - last), now
    assert (await checking).entries == 100_000
    assert longest_s < 0.5


@pytest.mark.usefixtures("processes")
async def test_a_reader_has_little_priority_a_bound_on_memory_and_nothing_of_the_services_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAMBDAD_CLUSTER_SECRET", "secret")
    program = """
import os, resource, sys
sys.path.insert(0, sys.argv.pop(1))
from shared.packages import child
def carry_out(task, package):
    variables = sorted(set(os.environ) - {"LC_CTYPE"})
    raise child.UnpackError(f"{os.nice(0)} {resource.getrlimit(resource.RLIMIT_AS)[0]} {variables}")
child.Task.carry_out = carry_out
child.main()
"""
    assert await reported(monkeypatch, program) == f"{child.LOW_PRIORITY} {child.MEMORY_BYTES_MAX} []"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("program", ["raise RuntimeError('a fault of ours')", "import os; os.kill(os.getpid(), 9)"])
async def test_a_reader_that_ends_without_an_answer_is_no_verdict_on_the_package(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    assert "without an answer" in await reported(monkeypatch, program)


async def reported(monkeypatch: pytest.MonkeyPatch, program: str) -> str:
    monkeypatch.setattr(reader, "_PROGRAM", program)
    with pytest.raises(UnpackError) as error:
        await PackageReader().check(package(file("a")), LIMIT)
    return str(error.value)


@pytest.mark.usefixtures("processes")
async def test_a_reader_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(reader, "TIMEOUT_S", 0.2)
    with pytest.raises(UnpackError, match="within"):
        await PackageReader().check(package(file("a")), LIMIT)


@pytest.mark.usefixtures("processes")
async def test_a_reader_that_nobody_waits_for_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    began = tmp_path / "began"
    monkeypatch.setattr(reader, "_PROGRAM", f"import os, time; os.mkdir('{began}-' + str(os.getpid())); time.sleep(60)")
    checking = asyncio.create_task(PackageReader().check(package(file("a")), LIMIT))
    made = await asyncio.to_thread(wait_until, lambda: list(tmp_path.iterdir()))
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    process = Path("/proc") / made[0].name.rpartition("-")[2]
    await asyncio.to_thread(wait_until, lambda: not process.exists())


def test_what_nobody_foresaw_is_the_packages_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def surprised(self: Archive, *arguments: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(Archive, "__init__", surprised)
    with pytest.raises(PackageRefusedError, match="RecursionError"):
        task.Task(None, LIMIT, 1).carry_out(b"")


def test_a_host_without_memory_is_not() -> None:
    with pytest.raises(UnpackError, match="ended without"):
        child.contents_of(b"", b"Traceback\nMemoryError\n")
    with pytest.raises(PackageUnreadableError, match="why"):
        child.contents_of(b'["PackageUnreadableError", "why"]', b"")
