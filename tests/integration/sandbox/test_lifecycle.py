"""Sandboxes come and go without leaving anything, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from services.worker.pool import SandboxPool
from services.worker.sandbox import dead_cgroups
from services.worker.sandbox.cgroups import Cgroup, CgroupTree, find_parents, mount_points
from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.memory_watch import TMP_INODE_BYTES
from services.worker.sandbox.spec import RuntimeExit, SandboxError
from tests.integration.sandbox.harness import Harness, needs_root, until
from tests.support import PYTHON, mounts

ECHO = "def handler(event, context):\n    return event\n"


def _counts(pool: SandboxPool) -> dict[str, int]:
    """Of this worker alone: others may run on this machine."""
    me = psutil.Process()
    cgroups = sum(len(list(Path(parent).glob(f"lambdad-{os.getpid()}-*/*/"))) for parent, _ in find_parents()[0].values())
    return {
        "descriptors": me.num_fds(),
        "processes": len(me.children(recursive=True)),
        "cgroups": cgroups,
        "mounts": len(mounts()),
        "namespaces": len(_network_namespaces(pool)),
    }


def _network_namespaces(pool: SandboxPool) -> set[str]:
    """Those that a process of ours lives in: a descendant, or an orphan that has one of this worker's user ids."""
    assert pool._uids is not None
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    uids = range(min(pool._uids._free), max(pool._uids._free) + 1)
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid in ours or process.uids().real in uids:
                found.add(os.readlink(f"/proc/{process.pid}/ns/net"))
        except (OSError, psutil.Error):
            continue
    return found


async def test_fifty_sandboxes_later_everything_is_as_before(harness: Harness) -> None:
    pool = harness.pool

    def settled() -> bool:
        return pool.stats().ready.get(PYTHON) == 2

    async with harness.running(ECHO) as function:
        assert await function.result(1) == 1
    await until(settled, "the pool is full")
    before, free = _counts(pool), pool.stats().uids_free
    for _ in range(10):

        async def one(number: int) -> None:
            async with harness.running(ECHO) as function:
                assert await function.result(number) == number

        await asyncio.gather(*(one(number) for number in range(5)))
    await until(lambda: settled() and pool.stats().uids_free == free, "the pool is full and the uids are back")
    more: dict[str, str] = {}

    def is_as_before() -> bool:
        now = _counts(pool)
        more.clear()
        more.update({name: f"{count}, was {before[name]}" for name, count in now.items() if count > before[name]})
        return not more

    try:
        await until(is_as_before, "everything is as before")
    except pytest.fail.Exception:
        pytest.fail(f"more than before: {more}")


async def test_the_worker_is_told_when_a_sandboxs_init_dies(harness: Harness) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(1000)\n"
    async with harness.running(source) as function:
        event = asyncio.create_task(function.invoke())
        sandbox = function.sandbox
        signal.pidfd_send_signal(sandbox._init._pidfd, signal.SIGKILL)
        with pytest.raises(SandboxError, match="init"):
            await event
        with pytest.raises(SandboxError):
            await function.invoke()
        await sandbox.kill_runtime()


async def test_destroying_twice_and_while_an_event_runs_is_fine(harness: Harness) -> None:
    source = "import time\ndef handler(event, context):\n    print('busy')\n    time.sleep(1000)\n"
    async with harness.running(source) as function:
        event = asyncio.create_task(function.invoke())
        await until(lambda: b"busy" in function.output, "the handler runs")
        await asyncio.gather(function.sandbox.destroy(), function.sandbox.destroy())
        with pytest.raises(SandboxError):
            await event


async def test_a_runtime_that_ended_while_idle_says_so_at_the_next_event(harness: Harness) -> None:
    source = "import os, threading\ndef handler(event, context):\n    threading.Timer(0.01, lambda: os._exit(7)).start()\n"
    async with harness.running(source) as function:
        await function.invoke()
        await until(lambda: function.sandbox.broken, "the runtime ended")
        end = await function.invoke()
        assert isinstance(end, RuntimeExit)
        assert end.exit_status == 7


async def test_a_dead_zygote_is_replaced(harness: Harness) -> None:
    async with harness.running(ECHO) as function:
        assert await function.result(1) == 1
    zygote = harness.pool.stats().zygotes[PYTHON]
    os.kill(zygote, signal.SIGKILL)
    await until(lambda: harness.pool.stats().zygotes[PYTHON] not in (0, zygote), "another zygote", 30)
    async with harness.running(ECHO) as function:
        assert await function.result(2) == 2


async def test_a_burst_larger_than_the_pool_is_served(harness: Harness) -> None:
    async def one(number: int) -> int:
        async with harness.running(ECHO) as function:
            return int(await function.result(number))

    assert await asyncio.gather(*(one(number) for number in range(12))) == list(range(12))


ORPHANING_WORKER = """
import asyncio, sys
from pathlib import Path
from services.worker.pool import SandboxPool
from shared.settings import Settings

async def main():
    settings = Settings()
    settings.worker.prestart_runtimes = []
    settings.worker.pool_size = settings.worker.pool_size_max = 2
    pool = SandboxPool(settings, Path(sys.argv[1]))
    await pool.start()
    sandbox = await pool.take(sys.argv[2])
    print(sandbox.uid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def _start_worker(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", ORPHANING_WORKER, str(folder), PYTHON], stdout=subprocess.PIPE)


def _left_by(pid: int) -> list[Path]:
    return [path for parent, _ in find_parents()[0].values() for path in Path(parent).glob(f"lambdad-{pid}-*")]


async def test_nothing_survives_a_worker_that_is_killed(harness: Harness, tmp_path: Path) -> None:
    worker = _start_worker(tmp_path)
    try:
        assert worker.stdout is not None
        line = await asyncio.to_thread(worker.stdout.readline)
        uid = int(line)
        children = psutil.Process(worker.pid).children(recursive=True)
        assert any(child.uids().real == uid for child in children)
    finally:
        worker.kill()
        worker.wait(10)
    await until(lambda: not any(_runs(child) for child in children), "every process of the dead worker's sandboxes is gone")
    assert _left_by(worker.pid)

    await asyncio.to_thread(dead_cgroups.tidy_up, mount_points(), threading.Event())
    assert not _left_by(worker.pid)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_sandbox_that_was_never_given_a_function_can_be_destroyed(harness: Harness) -> None:
    sandbox = await harness.pool.take(PYTHON)
    assert isinstance(sandbox, LaunchedSandbox)
    await sandbox.destroy()


async def test_of_a_sandbox_whose_processes_do_not_end_no_descriptor_is_kept(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = await harness.pool.take(PYTHON)
    assert isinstance(sandbox, LaunchedSandbox)
    watch, end = sandbox._slot._watch, sandbox._init.end
    assert watch is not None

    async def does_not_end() -> None:
        await end()
        raise SandboxError("they do not end")

    monkeypatch.setattr(sandbox._init, "end", does_not_end)
    with pytest.raises(SandboxError, match="they do not end"):
        await sandbox.destroy()
    with pytest.raises(OSError, match="Bad file descriptor"):
        watch.tmp_bytes()
    monkeypatch.undo()
    await sandbox._slot.give_back()


async def test_a_function_that_leaves_tmp_alone_pays_nothing_for_it(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its peak of memory, which is read while events go on, is one figure of its cgroup."""
    source = "def handler(event, context):\n    if event:\n        open('/tmp/empty', 'w').close()\n    return event\n"
    async with harness.running(source) as function:
        assert isinstance(function.sandbox, LaunchedSandbox)
        slot, figures = function.sandbox._slot, []
        watch, used_bytes = slot._watch, slot.cgroup.used_bytes
        assert watch is not None
        await until(lambda: watch._arming is None, "its first mark is set, which takes a look as well")

        def read() -> int:
            figures.append("memory")
            return used_bytes()

        monkeypatch.setattr(slot.cgroup, "used_bytes", read)
        assert await function.result(False) is False
        assert slot.peak_bytes() > 0
        assert (watch.tmp_bytes(), figures) == (0, [])
        assert await function.result(True) is True
        assert slot.peak_bytes() > 0
        assert (watch.tmp_bytes(), figures) == (TMP_INODE_BYTES, ["memory"])


@needs_root
def test_nothing_is_left_of_a_cgroup_that_cannot_be_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(cgroup: Cgroup) -> None:
        raise OSError("no such limit")

    tree = CgroupTree()
    monkeypatch.setattr(Cgroup, "set_first_limits", refused)
    with pytest.raises(OSError, match="no such limit"):
        tree.create("s1")
    assert tree.children() == []
    tree.close()


@needs_root
def test_a_worker_whose_empty_cgroup_was_taken_for_a_dead_ones_makes_it_again() -> None:
    tree = CgroupTree()
    bases = [base for base, _version in tree._bases.values()]
    for base in dict.fromkeys(bases):
        os.rmdir(base)
    cgroup = tree.create("s1")
    cgroup.set_memory(128 * 1024**2, 512 * 1024**2)
    assert len(tree.children()) == len(dict.fromkeys(bases))
    assert cgroup.remove()
    tree.close()
    assert not any(os.path.exists(base) for base in bases)


@needs_root
def test_a_living_workers_empty_cgroups_stay_though_its_process_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a container with a pid namespace of its own."""

    def unseen(pid: int) -> int:
        raise psutil.NoSuchProcess(pid)

    tree = CgroupTree()
    bases = [base for base, _version in tree._bases.values()]
    monkeypatch.setattr(dead_cgroups, "_started_at", unseen)
    parents = list(dict.fromkeys(os.path.dirname(base) for base in bases))
    cgroup = tree.create("s1")
    dead_cgroups.remove_below(parents)
    assert len(tree.children()) == len(dict.fromkeys(bases))
    assert cgroup.remove()
    tree.close()
