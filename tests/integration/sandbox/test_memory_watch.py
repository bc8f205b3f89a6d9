"""What is watched where a kernel cannot be had for every version of cgroups: when the watch looks, and what it makes of it."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from services.worker.sandbox import cgroup_v2, cgroups, memory_watch
from services.worker.sandbox.memory_watch import STEP_BYTES, MemoryWatch
from tests.integration.sandbox.harness import needs_root, until

MIB = 1024 * 1024
LIMIT = 128 * MIB


class PipeAlarm:
    def __init__(self) -> None:
        self.fd, self.far = os.pipe()
        self.marks: list[tuple[int, int | None]] = []
        self.closed = False

    def set(self, above_bytes: int, below_bytes: int | None) -> None:
        self.marks.append((above_bytes, below_bytes))

    def ring(self) -> None:
        os.write(self.far, b"!")

    def close(self) -> None:
        self.closed = True
        os.close(self.fd)
        os.close(self.far)


class FakeCgroup:
    """Of `used` bytes, so many can be reclaimed."""

    def __init__(self, used: int) -> None:
        self.used, self.reclaimable = used, 0
        self.alarm = PipeAlarm()
        self.squeezed: list[int] = []

    def memory_alarm(self) -> PipeAlarm:
        return self.alarm

    def used_bytes(self) -> int:
        if self.alarm.marks:
            os.set_blocking(self.alarm.fd, False)
            try:
                os.read(self.alarm.fd, 16)
            except BlockingIOError:
                pass
        return self.used

    def squeeze(self, limit_bytes: int) -> bool:
        self.squeezed.append(limit_bytes)
        freed = min(self.reclaimable, self.used - limit_bytes)
        self.used -= freed
        return self.used <= limit_bytes


class Watched:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, used: int) -> None:
        self.cgroup = FakeCgroup(used)
        self.tmp = 0
        self.kills = 0
        self.watch = MemoryWatch(self.cgroup, os.open("/", os.O_PATH))
        monkeypatch.setattr(self.watch, "tmp_bytes", lambda: self.tmp)
        self.lost: list[OSError] = []
        self.watch.start(LIMIT, self._kill, self.lost.append)

    def _kill(self) -> None:
        self.kills += 1

    async def armed(self, times: int) -> None:
        await until(lambda: len(self.marks) == times and self.watch._armed, "it is watched")

    @property
    def marks(self) -> list[tuple[int, int | None]]:
        return self.cgroup.alarm.marks


def hold_marks_back(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """As a kernel does that takes its time; until this is set."""
    go_on, set_mark = threading.Event(), PipeAlarm.set
    monkeypatch.setattr(PipeAlarm, "set", lambda *marks: go_on.wait(10) and set_mark(*marks))
    return go_on


async def test_memory_above_the_limit_that_cannot_be_reclaimed_ends_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 20 * MIB)
    await watched.armed(1)
    assert watched.marks == [(LIMIT, None)]
    watched.cgroup.used = LIMIT + MIB
    watched.cgroup.alarm.ring()
    await until(lambda: watched.kills, "it was killed")
    assert watched.cgroup.squeezed[0] == LIMIT
    watched.watch.close()


@pytest.mark.parametrize("place", ["set", "used_bytes", "squeeze"])
async def test_memory_that_cannot_be_watched_any_more_is_told_of(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    watched = Watched(monkeypatch, 20 * MIB)
    await watched.armed(1)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watched.cgroup.alarm if place == "set" else watched.cgroup, place, refuse)
    watched.cgroup.used = LIMIT + MIB if place == "squeeze" else 40 * MIB
    watched.cgroup.alarm.ring()
    await until(lambda: watched.lost, "it was told")
    assert (len(watched.lost), watched.kills) == (1, 0)
    watched.watch.close()


async def test_the_worker_waits_for_no_kernel_that_takes_its_time_to_set_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = hold_marks_back(monkeypatch)
    watched = Watched(monkeypatch, 20 * MIB)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not watched.marks
    watched.cgroup.used = LIMIT + MIB  # Before there is a mark that it could pass.
    go_on.set()
    await until(lambda: watched.kills, "it was killed")
    watched.watch.close()


async def test_what_leaves_tmp_while_a_mark_is_set_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 20 * MIB)
    await watched.armed(1)
    go_on = hold_marks_back(monkeypatch)
    watched.tmp, watched.cgroup.used = 400 * MIB, 420 * MIB
    watched.cgroup.alarm.ring()
    await until(lambda: watched.watch._arming is not None, "a mark is being set")
    watched.tmp, watched.cgroup.used = 0, 350 * MIB
    go_on.set()
    await until(lambda: watched.kills, "it was killed")
    watched.watch.close()


async def test_a_watch_that_is_closed_while_a_mark_is_set_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = hold_marks_back(monkeypatch)
    watched = Watched(monkeypatch, 20 * MIB)
    await asyncio.sleep(0)
    watched.watch.close()
    os.fstat(watched.cgroup.alarm.fd)
    go_on.set()
    await until(lambda: watched.cgroup.alarm.closed, "it is closed")
    assert not watched.watch._armed


async def test_memory_that_can_be_reclaimed_is_and_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 20 * MIB)
    await watched.armed(1)
    for round_ in range(2, 4):
        watched.cgroup.used, watched.cgroup.reclaimable = LIMIT + MIB, 50 * MIB
        watched.cgroup.alarm.ring()
        await watched.armed(round_)
    assert not watched.kills
    watched.watch.close()


async def test_what_is_in_tmp_raises_the_mark_and_what_leaves_it_lowers_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch, 20 * MIB)
    await watched.armed(1)
    watched.tmp, watched.cgroup.used = 200 * MIB, 220 * MIB
    watched.cgroup.alarm.ring()
    await watched.armed(2)
    assert watched.marks[-1] == (LIMIT + 200 * MIB, 220 * MIB - STEP_BYTES)
    assert not watched.cgroup.squeezed
    # Nothing rings when as much is taken as was deleted: it is seen when somebody asks.
    watched.tmp = 0
    watched.watch.review()
    await until(lambda: watched.kills, "it was killed")
    assert watched.cgroup.squeezed == [LIMIT]
    watched.watch.close()


async def test_a_function_makes_the_worker_look_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "PAUSE_S", 60.0)
    watched = Watched(monkeypatch, 20 * MIB)
    await watched.armed(1)
    watched.cgroup.alarm.ring()
    await until(lambda: not watched.watch._armed, "it was looked at")
    watched.cgroup.alarm.ring()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(watched.marks) == 1
    watched.watch.close()


@needs_root
async def test_the_alarm_of_v2_rings_when_the_kernel_says_that_events_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another file of the same kind, for v2 may be here without its memory controller: that of freezing."""
    mount = cgroups._mounts().get("")
    if mount is None:
        pytest.skip("there is no cgroup v2 here")
    folder = Path(cgroups._folder(mount, cgroups._own_paths().get("", "/"))) / f"lambdad-test-alarm-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("it cannot be written here")
    written = []
    monkeypatch.setattr(cgroup_v2, "_MEMORY_EVENTS", "cgroup.events")
    alarm = cgroup_v2.MemoryAlarm(str(folder))
    monkeypatch.setattr(cgroup_v2, "write", lambda *what: written.append(what))
    rung: list[int] = []

    def ring() -> None:
        rung.append(1)
        asyncio.get_running_loop().remove_reader(alarm.fd)

    try:
        for frozen in (1, 0):
            alarm.set(LIMIT, None)
            asyncio.get_running_loop().add_reader(alarm.fd, ring)
            for _ in range(20):
                await asyncio.sleep(0)
            before = len(rung)
            (folder / "cgroup.freeze").write_text(str(frozen))
            await until(lambda count=before: len(rung) == count + 1, "it rang")
        assert len(rung) == 2
        assert written == [(str(folder), "memory.high", str(LIMIT))] * 2
    finally:
        alarm.close()
        folder.rmdir()
