"""MiniStack from PyPI with its local executor, which keeps a Python process a function warm."""

from __future__ import annotations

from pathlib import Path

from tests.bench.install import python_environment
from tests.bench.peers.sdk import Functions
from tests.bench.processes import Child, free_port, listens
from tests.bench.signing import Endpoint

START_TIMEOUT_S = 60.0


class MiniStack:
    name = "ministack"
    warm_kind = "python"

    def __init__(self) -> None:
        self._child: Child | None = None

    def start(self, workdir: Path, *, cold: dict[str, int]) -> None:
        home = python_environment("ministack")
        self._port = free_port()
        environment = {
            "GATEWAY_PORT": str(self._port),
            "BIND_HOST": "127.0.0.1",
            "LAMBDA_EXECUTOR": "local",
            # A benchmark measures the platform: no answer may wait for a line of log.
            "LOG_LEVEL": "WARNING",
            "PATH": f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        }
        self._child = Child(
            [str(home / "bin" / "ministack")], log=workdir / "ministack.log", environment=environment, cwd=workdir
        )
        self._child.wait_until(lambda: listens(self._port), deadline_s=START_TIMEOUT_S, what="MiniStack")
        self._functions = Functions(self.endpoint(), python="python3.12", node="nodejs20.x")
        self._warm = self._functions.create(self.warm_kind)

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self._port)

    def warm_function(self) -> str:
        return self._warm

    def cold_functions(self, kind: str, count: int) -> list[str]:
        return [self._functions.create(kind) for _ in range(count)]

    def stop(self) -> None:
        if self._child:
            self._child.stop()
