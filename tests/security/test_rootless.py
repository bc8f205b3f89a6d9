"""What still holds where a worker runs without root: hostile functions on one that an ordinary user has started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.layout import CHECKOUT
from services.worker import rootless
from shared.domain.errors import ConfigurationError
from shared.settings import Settings, WorkerSettings
from tests.support import wait_until

USER = 54_321 if os.geteuid() == 0 else os.geteuid()
"""Somebody who owns nothing here."""
NO_CAPABILITIES = "0" * 16
VARIABLES = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}


def _as_user(argv: list[str], timeout_s: float = 60.0, **variables: str) -> subprocess.CompletedProcess[str]:
    who: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        argv, cwd=CHECKOUT, env=VARIABLES | variables, capture_output=True, text=True, timeout=timeout_s, check=False, **who
    )


def _why_not() -> str | None:
    """Why no ordinary user can run a worker here."""
    enter = (
        "import os; from services.worker import rootless; from shared.settings import Settings, WorkerSettings; "
        "rootless.enter(Settings(worker=WorkerSettings(isolation='rootless')))"
    )
    try:
        tried = _as_user([sys.executable, "-c", enter])
    except OSError as error:
        return f"another user cannot run this checkout's Python: {error}"
    return None if tried.returncode == 0 else f"another user cannot run a worker here: {tried.stderr[-300:]}"


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """That user's own."""
    folder = Path(tempfile.mkdtemp(prefix="lambdad-rootless-"))
    os.chown(folder, USER, -1)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """What functions got, by probe (rootless_probes.py)."""
    if (reason := _why_not()) is not None:
        pytest.skip(reason)
    with (
        _folder() as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        port = listener.getsockname()[1]
        abstract.bind(f"\0lambdad-probe-{port}")
        abstract.listen()
        done = _as_user([sys.executable, "-m", "tests.security.rootless_probes", str(folder), str(port)])
        assert done.returncode == 0, done.stderr[-3_000:]
        yield json.loads(done.stdout.splitlines()[-1])


def test_a_function_is_a_user_of_its_own_namespace_without_any_privilege(found: dict[str, Any]) -> None:
    one, other = found["user"], found["another user"]
    for user in (one, other):
        assert len(set(user["ids"])) == 1
        assert user["map"] == [str(user["ids"][0]), "0", "1"]
        assert {user[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {NO_CAPABILITIES}
        assert (user["NoNewPrivs"], user["Seccomp"]) == ("1", "2")
    assert one["ids"] != other["ids"]


def test_it_sees_no_file_of_its_host_and_changes_none_but_its_own(found: dict[str, Any]) -> None:
    files = found["files"]
    assert set(files["writes"]) <= {"EROFS", "EACCES"}, files
    assert "allowed" not in files["modes"], files
    assert set(files["seen"]) <= {"/home"}, "an empty folder of the sandbox"
    assert not files["tmp_of_another"]


def test_it_sees_and_signals_no_process_but_its_own(found: dict[str, Any]) -> None:
    processes = found["processes"]
    assert set(processes["pids"]) <= {1, processes["me"]}
    assert processes["signals"][1] == "ESRCH"
    assert "allowed" not in processes["reads"]
    assert found["after"]["me"] == processes["me"], "it went on: its init cannot be killed from inside"


def test_it_has_no_call_that_leads_to_privilege(found: dict[str, Any]) -> None:
    assert "allowed" not in found["calls"].values(), found["calls"]


def test_it_reaches_nothing_but_its_own_loopback(found: dict[str, Any]) -> None:
    network = found["network"]
    assert network["devices"] == ["lo"]
    assert "allowed" not in (network["host"], network["metadata"], network["abstract"]), network


def test_a_process_has_the_functions_memory_and_no_more(found: dict[str, Any]) -> None:
    assert found["memory"] == [64 << 20, "MemoryError"]


def test_it_starts_so_many_processes_and_no_more(found: dict[str, Any]) -> None:
    assert found["forks"] == "ended" or (found["forks"][0] < 1_024 and found["forks"][1] == "EAGAIN"), found["forks"]


def test_nothing_of_it_is_left(found: dict[str, Any]) -> None:
    if os.geteuid() != 0:
        pytest.skip("this user has other processes")

    def left() -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["uids", "status"])
            if process.info["uids"] and process.info["uids"].real == USER and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    wait_until(lambda: not left(), what="the end of all that this user had")


def test_root_is_told_to_give_functions_what_it_can(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this user is not root")
    with pytest.raises(ConfigurationError, match="is for users"):
        rootless.enter(Settings(data_dir=tmp_path, worker=WorkerSettings(isolation="rootless")))


def test_who_did_not_name_the_weaker_level_does_not_get_it() -> None:
    if (reason := _why_not()) is not None:
        pytest.skip(reason)
    with _folder() as folder:
        tried = _as_user([sys.executable, "-m", "deploy.local.cli", "serve", "worker"], LAMBDAD_DATA_DIR=str(folder))
    assert tried.returncode == 2
    assert "LAMBDAD_WORKER__ISOLATION=rootless" in tried.stderr + tried.stdout
