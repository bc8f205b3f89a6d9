"""What dead workers left is found wherever it is, and what a living one has is left alone. Folders behave as cgroups do here:
those that are not empty cannot be removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from services.worker.sandbox import dead_cgroups


@pytest.fixture
def dead() -> str:
    """The name of a folder of a process that has ended."""
    script = "from services.worker.sandbox import dead_cgroups; print(dead_cgroups.base_name(1))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_all_of_the_host_is_searched(tmp_path: Path, dead: str) -> None:
    bases = [tmp_path / "memory/user.slice/session-7.scope" / dead, tmp_path / "cpu" / dead]
    for base in bases:
        (base / "s1").mkdir(parents=True)
    others = tmp_path / "memory/user.slice/lambdad-notes"
    others.mkdir()
    assert dead_cgroups.remove_below([str(tmp_path / "memory"), str(tmp_path / "cpu")])
    assert not any(base.exists() for base in bases)
    assert others.is_dir()


def test_what_a_process_is_in_still_stays_and_keeps_nothing_else(tmp_path: Path, dead: str) -> None:
    held, free = tmp_path / "a" / dead / "s1", tmp_path / "b" / dead / "s1"
    for folder in (held, free):
        folder.mkdir(parents=True)
    (held / "cgroup.procs").write_text("4711\n")
    assert not dead_cgroups.remove_below([str(tmp_path)])
    assert held.is_dir()
    assert not free.parent.exists()
    (held / "cgroup.procs").unlink()
    assert dead_cgroups.remove_below([str(tmp_path)])
    assert not held.parent.exists()


def test_it_is_tried_again_until_the_last_process_has_ended(tmp_path: Path, dead: str) -> None:
    base = tmp_path / dead
    base.mkdir()
    process = base / "cgroup.procs"
    process.write_text("4711\n")

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            process.unlink()
            return False

    dead_cgroups.tidy_up([str(tmp_path)], Stop())
    assert not base.exists()
    base.mkdir()
    process.write_text("4711\n")
    stop = threading.Event()
    stop.set()
    dead_cgroups.tidy_up([str(tmp_path)], stop)
    assert base.exists(), "the worker ends meanwhile"


def test_a_worker_that_is_seen_or_holds_its_folder_is_alive(tmp_path: Path, dead: str) -> None:
    mine, locked = tmp_path / dead_cgroups.base_name(1), tmp_path / dead
    for folder in (mine, locked):
        folder.mkdir()
    descriptor = dead_cgroups.hold(str(locked))
    assert dead_cgroups.remove_below([str(tmp_path)])
    assert mine.is_dir()
    assert locked.is_dir()
    os.close(descriptor)
    assert dead_cgroups.remove_below([str(tmp_path)])
    assert not locked.exists()
    assert mine.is_dir()


def test_a_number_that_another_process_has_now_is_not_the_dead_worker(tmp_path: Path) -> None:
    began = int(psutil.Process().create_time() * 100)
    reused = tmp_path / f"lambdad-{os.getpid()}-{began - 6_000}-1"
    reused.mkdir()
    assert dead_cgroups.remove_below([str(tmp_path)])
    assert not reused.exists()
