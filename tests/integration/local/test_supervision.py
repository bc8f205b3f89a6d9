"""One supervised child, with small programs in the engines' place: backoff, bounded stop, rotation of logs."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

from deploy.local import logs
from deploy.local.child import SupervisedChild
from deploy.local.launch import Launch, launch
from deploy.local.state import Child, ChildState
from tests.support import PATIENCE_S


def child_of(script: str, log: Path, *, ready: bool = True, stop_timeout_s: float = 5.0) -> SupervisedChild:
    async def probe() -> str | None:
        return None if ready else "not yet"

    return SupervisedChild(
        Child(name="probe", kind="service"),
        lambda: Launch(("/bin/sh", "-c", script), log, {"PATH": "/usr/bin:/bin"}),
        probe,
        lambda: None,
        stop_signal=signal.SIGTERM,
        stop_timeout_s=stop_timeout_s,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Its caller has the deadline."""
    while not condition():  # noqa: ASYNC110  # nothing tells of these changes
        await asyncio.sleep(0.02)


async def test_a_child_that_keeps_ending_is_started_again_ever_more_slowly(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = child_of("date +%s%N; echo broken >&2; exit 3", log, ready=False)
    running = asyncio.create_task(child.run())
    async with asyncio.timeout(PATIENCE_S):
        await until(lambda: child.record.restarts >= 4)
    await child.stop()
    await running
    starts = [int(line) / 1e9 for line in log.read_text().splitlines() if line.isdigit()]
    gaps = [after - before for before, after in itertools.pairwise(starts)][:3]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4
    assert child.record.last_exit is not None
    assert child.record.last_exit.startswith("exit status 3")
    assert "broken" in child.record.last_exit
    assert child.record.state is ChildState.STOPPED


async def test_a_child_that_ignores_the_request_to_stop_is_killed_in_time(tmp_path: Path) -> None:
    child = child_of("trap '' TERM; echo up; while :; do sleep 1; done", tmp_path / "log", stop_timeout_s=0.3)
    running = asyncio.create_task(child.run())
    async with asyncio.timeout(PATIENCE_S):
        await child.ready.wait()
        await until(lambda: "up" in (tmp_path / "log").read_text())
    async with asyncio.timeout(PATIENCE_S):
        await child.stop()
    async with asyncio.timeout(PATIENCE_S):
        await running
    assert child.record.pid is None


async def test_a_child_stopped_during_its_backoff_stays_stopped(tmp_path: Path) -> None:
    child = child_of("exit 1", tmp_path / "log", ready=False)
    running = asyncio.create_task(child.run())
    async with asyncio.timeout(PATIENCE_S):
        await until(lambda: child.record.restarts >= 5)
    await child.stop()
    async with asyncio.timeout(PATIENCE_S):
        await running


def test_a_child_gives_way_as_far_as_it_is_told_to(tmp_path: Path) -> None:
    script = "nice; cat /proc/self/autogroup 2>/dev/null || true"
    child = launch(Launch(("/bin/sh", "-c", script), tmp_path / "log", {"PATH": "/usr/bin:/bin"}, nice=5))
    child.wait(PATIENCE_S)
    nice, *group = (tmp_path / "log").read_text().splitlines()
    assert int(nice) == os.nice(0) + 5
    # Of kernels that share processors out among sessions.
    assert all(line.endswith("nice 5") for line in group)


def test_a_log_is_cut_at_its_bound_and_one_older_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    with path.open("ab") as writer:
        writer.write(b"old line\n" * 100)
        writer.flush()
        assert logs.rotate(path, bytes_max=500)
        writer.write(b"new line\n")
    assert path.read_text() == "new line\n"
    assert (tmp_path / "service.log.1").stat().st_size == 900
    assert not logs.rotate(path, bytes_max=500)
    assert logs.tail(path) == "new line"
