"""Runs in taskiq's own environment: the task, and a producer that sends N of it and waits until the last was run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from redis.asyncio import Redis
from taskiq_redis import ListQueueBroker

QUEUE = "bench"
URL = os.environ["BENCH_REDIS_URL"]
broker = ListQueueBroker(url=URL, queue_name=QUEUE)


# Named, because the producer knows this module as __main__.
@broker.task(task_name="echo")
async def echo(event: dict[str, object]) -> dict[str, object]:
    return event


@broker.task(task_name="mark")
async def mark(key: str) -> None:
    redis = Redis.from_url(URL)
    await redis.set(key, "1")
    await redis.aclose()


async def until_run(redis: Redis, key: str) -> None:
    await mark.kiq(key)
    async with asyncio.timeout(100):
        while not await redis.exists(key):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def main(events: int, clients: int) -> None:
    await broker.startup()
    redis = Redis.from_url(URL)
    await until_run(redis, f"ready-{time.time_ns()}")

    async def produce(count: int) -> None:
        for _ in range(count):
            await echo.kiq({"message": "hello", "numbers": [1, 2, 3]})

    started = time.perf_counter()
    await asyncio.gather(*(produce(events // clients) for _ in range(clients)))
    accepted = time.perf_counter() - started
    # The queue is first in, first out: when the mark has run, so has (all but a hundred of) what was sent before it.
    await until_run(redis, f"done-{time.time_ns()}")
    executed = time.perf_counter() - started
    await broker.shutdown()
    print(json.dumps({"accepted": events / accepted, "executed": events / executed}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
