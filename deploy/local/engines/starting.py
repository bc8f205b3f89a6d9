"""Starting and stopping one engine by itself, blocking: for tests and benchmarks. The supervisor has its own way."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.credentials import Credentials
from deploy.local.engines import START_TIMEOUT_S, STOP_TIMEOUT_S, Engine
from deploy.local.engines.kafka import KafkaEngine
from deploy.local.engines.postgres import PostgresEngine
from deploy.local.engines.redis import FSYNC_DEFAULT, RedisEngine
from deploy.local.launch import launch
from deploy.local.logs import tail
from deploy.local.ports import choose
from shared.domain.errors import ConfigurationError

POLL_S = 0.03


def make_engine(
    name: str,
    root: Path,
    credentials: Credentials,
    taken: set[int],
    wishes: dict[str, int] | None = None,
    *,
    fsync: str = FSYNC_DEFAULT,
) -> Engine:
    """An engine with its data in root/<name> and its log in root/logs/<name>.log, on free ports (the wished ones if free;
    the chosen ones are written into `wishes`). fsync: Redis's policy."""
    wishes = wishes if wishes is not None else {}
    log = root / "logs" / f"{name}.log"

    def port(purpose: str) -> int:
        wishes[purpose] = choose(taken, wishes.get(purpose))
        return wishes[purpose]

    if name == "redis":
        return RedisEngine(root / name, log, port("redis"), credentials.redis_password, fsync=fsync)
    if name == "postgres":
        return PostgresEngine(root / name, log, port("postgres"), credentials.postgres_password)
    return KafkaEngine(root / name, log, port("kafka"), port("kafka_controller"), credentials.kafka_password)


@contextmanager
def running(engine: Engine, log: Path) -> Iterator[Engine]:
    """The engine, started and answering, until the block ends. Raises ConfigurationError with the end of its log."""
    engine.prepare()
    process = launch(engine.launch())
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while (problem := engine.problem()) is not None:
            status = process.poll()
            if status is not None:
                raise ConfigurationError(f"{engine.name} ended with status {status}. The end of {log}:\n{tail(log)}")
            if time.monotonic() > deadline:
                raise ConfigurationError(f"{engine.name} did not start: {problem}. The end of {log}:\n{tail(log)}")
            time.sleep(POLL_S)
        yield engine
    finally:
        process.send_signal(engine.stop_signal)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
