"""lambdad itself: a cluster of its own in a temporary data directory, with everything on that is on by default."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from deploy.local.runtimes import example_runtime, usable_pythons
from tests.bench.peers.sdk import Functions
from tests.bench.processes import PeerError, free_port
from tests.bench.signing import Endpoint

UP_TIMEOUT_S = 180.0
DOWN_TIMEOUT_S = 60.0
COMMAND = [str(Path(sys.executable).with_name("lambdad"))]


def python_runtime() -> str:
    """The machine's own interpreter, which the services run on too: others may be built without optimisation."""
    own = f"python3.{sys.version_info.minor}"
    return own if own in usable_pythons() else example_runtime()


class Cluster:
    """Started once and shared by every benchmark that asks something of the cluster."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self._data_dir: Path | None = None

    def start(self, workdir: Path) -> None:
        if self.variables:
            return
        self._data_dir = workdir / "lambdad"
        up = [*COMMAND, "up", "--detach", "--data-dir", str(self._data_dir), "--port", str(free_port())]
        self._run(up, UP_TIMEOUT_S)
        exports = self._run([*COMMAND, "env", "--data-dir", str(self._data_dir)], 30.0)
        words = [word for line in exports.splitlines() for word in shlex.split(line) if "=" in word]
        self.variables = dict(word.split("=", 1) for word in words)

    def endpoint(self) -> Endpoint:
        host, _, port = self.variables["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
        return Endpoint(
            host,
            int(port.strip("/")),
            self.variables["AWS_ACCESS_KEY_ID"],
            self.variables["AWS_SECRET_ACCESS_KEY"],
            self.variables["AWS_REGION"],
        )

    def worker_figures(self, *names: str) -> tuple[float, ...]:
        """What the workers count under these names, over all labels."""
        ports = [port for name, port in self._state()["ports"].items() if name.startswith("worker-")]
        texts = []
        for port in ports:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
                texts.append(answer.read().decode())
        lines = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
        return tuple(sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line)) for name in names)

    def processes(self) -> list[psutil.Process]:
        """Its supervisor, its services and engines, and all that runs in sandboxes."""
        supervisor = psutil.Process(self._state()["supervisor_pid"])
        return [supervisor, *supervisor.children(recursive=True)]

    def children(self) -> dict[str, psutil.Process]:
        """Its services and engines by their names."""
        children = [child for child in self._state()["children"] if child["pid"] is not None]
        return {child["name"]: psutil.Process(child["pid"]) for child in children}

    def _state(self) -> dict[str, Any]:
        status = json.loads(self._run([*COMMAND, "status", "--json", "--data-dir", str(self._data_dir)], 30.0))
        state: dict[str, Any] = status["cluster"]
        return state

    def functions(self) -> Functions:
        return Functions(self.endpoint(), python=python_runtime(), node="nodejs20.x")

    def stop(self) -> None:
        if self._data_dir is not None:
            self._run([*COMMAND, "down", "--data-dir", str(self._data_dir)], DOWN_TIMEOUT_S)
            self.variables = {}

    @staticmethod
    def _run(command: list[str], timeout_s: float) -> str:
        try:
            # Its standard error goes to a file of ours: a detached child that keeps a pipe open would hold us.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                timeout=timeout_s,
                check=False,
                env=dict(os.environ),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerError(f"{' '.join(command[:2])}: {error}") from error
        if done.returncode != 0:
            raise PeerError(f"{' '.join(command[:2])} ended with {done.returncode}: {done.stdout[-1500:]}")
        return done.stdout


class Lambdad:
    """One language of the cluster as a peer."""

    def __init__(self, cluster: Cluster, warm_kind: str) -> None:
        self.name = f"lambdad ({warm_kind})"
        self.warm_kind = warm_kind
        self.cluster = cluster

    def start(self, workdir: Path, *, cold: dict[str, int]) -> None:
        self.cluster.start(workdir)
        self._functions = self.cluster.functions()
        self._warm = self._functions.create(self.warm_kind)

    def endpoint(self) -> Endpoint:
        return self.cluster.endpoint()

    def warm_function(self) -> str:
        return self._warm

    def cold_functions(self, kind: str, count: int) -> list[str]:
        return [self._functions.create(kind) for _ in range(count)]

    def create(self, kind: str, runtime: str) -> str:
        return self._functions.create(kind, runtime)

    def replace_environments(self, function: str) -> None:
        self._functions.replace_environments(function)

    def delete(self, function: str) -> None:
        self._functions.delete(function)

    def stop(self) -> None:
        self.cluster.stop()
