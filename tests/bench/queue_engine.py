"""What the engine of queues does by itself: a Redis of its own, and one process that sends, or receives and deletes, batches of ten.

`python -m tests.bench.queue_engine SECONDS` is that process; it takes REDIS_URL from its environment.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
import traceback
from array import array
from pathlib import Path

import uvloop

from deploy.local.engines.redis import FSYNC_DEFAULT, OPTIONS, server_binary
from shared.domain.arns import Home
from shared.queues import Queues
from shared.queues.records import Message, QueueId, QueueSettings
from shared.settings import Settings
from tests.bench.install import ROOT
from tests.bench.processes import Child, free_port, listens
from tests.bench.report import Outcome, Row

QUEUES = 10_000
CALLERS = 32
BATCH = 10
ROUNDS = 2
BODY = b"a message of about a hundred bytes, as a queue may well have one: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
HOME = Home("000000000000", "us-east-1")


def queue_rate(workdir: Path, seconds: float) -> Outcome:
    title = f"messages sent, and received and deleted, by the engine alone: batches of ten, {QUEUES:,} queues, 1 process"
    outcome = Outcome("queue-rate", title, "executed_per_s", 40_000)
    children: list[Child] = []
    try:
        port = free_port()
        redis = [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        redis += ["--appendfsync", FSYNC_DEFAULT]
        redis += [word for option, value in OPTIONS.items() for word in (f"--{option}", str(value))]
        home = workdir / "queue-redis"
        home.mkdir(parents=True)
        children.append(Child(redis, log=workdir / "queue-redis.log", cwd=home))
        children[0].wait_until(lambda: listens(port), deadline_s=10, what="Redis")
        user = Child(
            [sys.executable, "-m", "tests.bench.queue_engine", str(seconds)],
            log=workdir / "queues.json",
            environment={"REDIS_URL": f"redis://127.0.0.1:{port}/0"},
            cwd=ROOT,
        )
        children.append(user)
        try:
            user.process.wait(2 * ROUNDS * seconds + 60)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"it did not end: {user.log_tail()}") from None
        if user.process.returncode != 0:
            raise RuntimeError(user.log_tail())
        outcome.rows.append(Row("lambdad", **json.loads(user.log_tail().splitlines()[-1])))
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
    finally:
        for child in reversed(children):
            child.stop()
    return outcome


class _User:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._ids = [QueueId(HOME, f"bench-{number}") for number in range(QUEUES)]
        self.latencies_s = array("f")
        self.messages = 0

    async def fill(self) -> None:
        """Every queue is used once before anything is measured."""
        turns = itertools.cycle(self._ids)
        await asyncio.gather(*(self._each(turns, QUEUES // CALLERS, self._send) for _ in range(CALLERS)))

    async def rate(self, what: str, seconds: float) -> float:
        turns, step = itertools.cycle(self._ids), self._send if what == "send" else self._receive
        before, began = self.messages, time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._until(turns, began + seconds, step))
        return (self.messages - before) / (time.perf_counter() - began)

    async def _each(self, turns: itertools.cycle[QueueId], count: int, step: object) -> None:
        for _ in range(count):
            await step(next(turns))  # type: ignore[operator]

    async def _until(self, turns: itertools.cycle[QueueId], until: float, step: object) -> None:
        clock = time.perf_counter
        while (began := clock()) < until:
            await step(next(turns))  # type: ignore[operator]
            self.latencies_s.append(clock() - began)

    async def _send(self, queue: QueueId) -> None:
        sent = await self._queues.send(queue, [Message(BODY)] * BATCH)
        self.messages += len(sent)

    async def _receive(self, queue: QueueId) -> None:
        received = await self._queues.receive(queue, count_max=BATCH, wait_s=0)
        settled = await self._queues.delete(queue, [message.receipt_handle for message in received])
        self.messages += settled.count("done")


async def _settings(queue: QueueId) -> QueueSettings:
    return QueueSettings(1, visibility_s=600)


async def main(seconds: float) -> None:
    queues = Queues.of(Settings(), _settings, name="bench")
    await queues.open()
    user = _User(queues)
    await user.fill()
    rates: dict[str, list[float]] = {"send": [], "receive": []}
    for _ in range(ROUNDS):
        for what, found in rates.items():
            found.append(await user.rate(what, seconds))
    await queues.close()
    latencies = sorted(user.latencies_s)
    figures = {
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "per_s": max(rates["send"]),
        "executed_per_s": max(rates["receive"]),
        "count": len(latencies),
        "note": f"per_s: sent; executed: received and deleted; p50, p99: of a batch, {CALLERS} callers",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
