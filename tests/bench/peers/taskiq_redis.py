"""taskiq on Redis: producers in one process with as many tasks as we have clients, one worker process; the Redis of its own
keeps nothing on disk, which is its best case and less than our 202 promises."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.bench.install import ROOT, python_environment
from tests.bench.processes import Child, PeerError, free_port, listens

TIMEOUT_S = 120.0


class Taskiq:
    name = "taskiq (redis, no disk)"

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(self, workdir: Path) -> None:
        from deploy.local.engines.redis import server_binary

        self._python = python_environment("taskiq") / "bin" / "python"
        port = free_port()
        redis = [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        server = Child(redis, log=workdir / "taskiq-redis.log", cwd=workdir)
        self._children.append(server)
        server.wait_until(lambda: listens(port), deadline_s=10, what="Redis for taskiq")
        self._environment = {"BENCH_REDIS_URL": f"redis://127.0.0.1:{port}/0", "PYTHONPATH": str(ROOT)}
        command = [str(self._python), "-m", "taskiq", "worker", "tests.bench.taskiq_tasks:broker", "--workers", "1"]
        worker = Child(command, log=workdir / "taskiq.log", environment=self._environment, cwd=ROOT)
        self._children.append(worker)

    def measure(self, events: int, clients: int) -> dict[str, float]:
        """Rates a second: accepted, executed (until the last has run)."""
        command = [str(self._python), "-m", "tests.bench.taskiq_tasks", str(events), str(clients)]
        done = subprocess.run(
            command, env=self._environment, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise PeerError(f"taskiq: {done.stderr[-1500:]}")
        rates: dict[str, float] = json.loads(done.stdout)
        return rates

    def stop(self) -> None:
        for child in reversed(self._children):
            child.stop()
