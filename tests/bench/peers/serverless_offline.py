"""serverless-offline from npm (with Serverless 3, which needs no account): functions run in worker threads of its own Node
process, or, for Python, in a child process. It has no authentication, limits or isolation; figures are of its best case, Node."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from tests.bench.functions import MEMORY_MB, SOURCES
from tests.bench.install import ROOT, node_packages, python_environment
from tests.bench.processes import Child, PeerError, free_port, listens
from tests.bench.signing import Endpoint

START_TIMEOUT_S = 60.0


class ServerlessOffline:
    warm_kind = "node"

    def __init__(self, *, in_process: bool) -> None:
        # In process: no worker thread around a function, and so no timeout either. Its fastest.
        self.name = "serverless-offline" + (" in proc." if in_process else "")
        self._options = ["--useInProcess"] if in_process else []
        self._child: Child | None = None
        self._cold: dict[str, list[str]] = {}

    def start(self, workdir: Path, *, cold: dict[str, int]) -> None:
        node = shutil.which("node")
        if node is None:
            raise PeerError("node is not installed")
        home = node_packages(ROOT / "tests" / "bench" / "serverless-offline")
        (home / "node_index.js").write_text(SOURCES["node"])
        (home / "python_index.py").write_text(SOURCES["python"])
        (home / "boto3_index.py").write_text(SOURCES["boto3"])
        self._port = free_port()
        functions = {"warm": _function("node")}
        for kind, count in cold.items():
            # Its trivial cold start is Node's too.
            language = "boto3" if kind == "boto3" else "node"
            self._cold[kind] = [f"cold-{kind}-{number}" for number in range(count)]
            functions.update({name: _function(language) for name in self._cold[kind]})
        service = {
            "service": "bench",
            "frameworkVersion": "3",
            "provider": {"name": "aws", "runtime": "nodejs20.x", "memorySize": MEMORY_MB, "timeout": 30},
            "plugins": ["serverless-offline"],
            "functions": functions,
        }
        (home / "serverless.json").write_text(json.dumps(service))
        command = [node, "node_modules/.bin/serverless", "offline", "--host", "127.0.0.1", "--lambdaPort", str(self._port)]
        # Python functions find boto3 beside MiniStack.
        python = python_environment("ministack") / "bin"
        environment = {
            "SLS_TELEMETRY_DISABLED": "1",
            "SLS_NOTIFICATIONS_MODE": "off",
            "PATH": f"{python}:{os.environ['PATH']}",
        }
        command += ["--httpPort", str(free_port()), "--websocketPort", str(free_port()), "--albPort", str(free_port())]
        command += self._options
        self._child = Child(command, log=workdir / f"{self.name.replace(' ', '-')}.log", environment=environment, cwd=home)
        self._child.wait_until(lambda: listens(self._port), deadline_s=START_TIMEOUT_S, what="serverless-offline")

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self._port)

    def warm_function(self) -> str:
        return "bench-dev-warm"

    def cold_functions(self, kind: str, count: int) -> list[str]:
        names, self._cold[kind] = self._cold[kind][:count], self._cold[kind][count:]
        return [f"bench-dev-{name}" for name in names]

    def stop(self) -> None:
        if self._child:
            self._child.stop()


def _function(language: str) -> dict[str, str]:
    # Python functions are run by the command of this name, which is found in the environment that has boto3.
    runtime = "nodejs20.x" if language == "node" else f"python3.{sys.version_info.minor}"
    return {"handler": f"{language}_index.handler", "runtime": runtime}
