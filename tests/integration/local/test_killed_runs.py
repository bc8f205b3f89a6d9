"""A test run that is killed leaves nothing running: its cluster and its engines end with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.layout import CHECKOUT
from deploy.local.ports import choose
from tests.conftest import CLUSTER_START_TIMEOUT_S
from tests.integration.local.conftest import LocalCluster, clean_environment, gone
from tests.support import wait_until

HANGING = """
import os, pathlib, time

def test_that_never_ends(cluster, start_engine):
    start_engine("postgres")
    told = pathlib.Path(os.environ["TOLD"])
    told.with_suffix(".partial").write_text(str(cluster.data_dir))
    told.with_suffix(".partial").rename(told)
    time.sleep(1000)
"""


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_a_killed_run_takes_its_cluster_and_engines_with_it(scratch: Path) -> None:
    """Its tests are in a process beside it, as CI runs them."""
    test, told = scratch / "test_hanging.py", scratch / "told"
    test.write_text(HANGING)
    argv = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "--rootdir", str(CHECKOUT)]
    argv += ["-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "1"]
    environment = clean_environment() | {"TOLD": str(told), "PYTHONPATH": str(CHECKOUT)}
    del environment["LAMBDAD_ENDS_WITH"]  # ours
    with (scratch / "log").open("wb") as log:
        run = subprocess.Popen(
            [*argv, str(test)], cwd=CHECKOUT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(
            lambda: told.exists() or run.poll() is not None,
            deadline_s=CLUSTER_START_TIMEOUT_S,
            what="the run has its cluster, and another engine",
        )
        assert told.exists(), (scratch / "log").read_text()
        data = Path(told.read_text())
        supervisor = LocalCluster(data, 0).status()["cluster"]["supervisor_pid"]
        left = [*below(run.pid), psutil.Process(supervisor), *below(supervisor)]
        assert len(left) > 10
    finally:
        run.kill()
        run.wait(10)
    try:
        wait_until(lambda: gone(left), deadline_s=40, what=f"{left} to end")
    finally:
        LocalCluster(data, 0).run("down")


@pytest.fixture
def owned(scratch: Path) -> Iterator[LocalCluster]:
    cluster = LocalCluster(scratch / "data", choose(set()))
    yield cluster
    cluster.run("down")


def test_a_detached_cluster_ends_with_the_process_that_is_named(owned: LocalCluster) -> None:
    owner = subprocess.Popen(["sleep", "1000"])
    try:
        up = owned.up(LAMBDAD_ENDS_WITH=str(owner.pid))
        assert up.returncode == 0, up.stdout + up.stderr
        processes = owned.processes()
    finally:
        owner.kill()
        owner.wait(10)
    wait_until(lambda: gone(processes), deadline_s=30, what="the cluster to end")
    assert f"process {owner.pid}, which this cluster was to end with, has ended" in owned.run("logs", "supervisor").stdout
    assert owned.status()["running"] is False
