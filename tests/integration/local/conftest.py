"""A cluster of engines alone, driven by the command line: what the tests of the supervisor share."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.engines.external import CLIENT_VARIABLES, PREFIX
from deploy.local.layout import CHECKOUT
from deploy.local.ports import choose

UP_TIMEOUT_S = 100.0


@dataclass(frozen=True)
class LocalCluster:
    data_dir: Path
    port: int

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_lambdad(*arguments, "--data-dir", str(self.data_dir), **environment)

    def up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--engines-only", "--detach", "--port", str(self.port), **environment)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def child(self, name: str) -> dict[str, Any]:
        return next(child for child in self.status()["cluster"]["children"] if child["name"] == name)

    def environment(self) -> dict[str, str]:
        lines = self.run("env").stdout.splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        supervisor = psutil.Process(self.status()["cluster"]["supervisor_pid"])
        return [supervisor, *supervisor.children(recursive=True)]


def run_lambdad(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local.cli", *arguments],
        cwd=CHECKOUT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=UP_TIMEOUT_S,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Ours, without what would send a cluster to other engines or another directory."""
    taken_out = (*CLIENT_VARIABLES, *(PREFIX + name for name in CLIENT_VARIABLES), "LAMBDAD_DATA_DIR")
    return {name: value for name, value in os.environ.items() if name not in taken_out}


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that every user may enter, as pytest's own are not."""
    root = Path(tempfile.mkdtemp(prefix="lambdad-test-local-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[LocalCluster]:
    root = Path(tempfile.mkdtemp(prefix="lambdad-test-local-"))
    root.chmod(0o711)
    cluster = LocalCluster(root / "data", choose(set()))
    try:
        up = cluster.up()
        assert up.returncode == 0, up.stdout + up.stderr
        assert "Stop it with" in up.stdout  # What is said when it is ready is said before `up` returns.
        yield cluster
    finally:
        cluster.run("down")
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
