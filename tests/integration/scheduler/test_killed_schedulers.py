"""Two schedulers as processes: one is killed while it fires, and comes back. Each firing is there once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from shared.domain.arns import Home
from shared.domain.schedules import Schedule
from shared.events.kafka import client_arguments
from shared.events.records import decode_delivery
from shared.events.topics import TopicNames, ensure_topics
from shared.registry import scheduler, timers
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.conftest import CHECKOUT, CLUSTER_SECRET, Engines
from tests.integration.events.parts import until
from tests.integration.registry.support import new_database

HOME = Home("000000000000", "us-east-1")
SCHEDULES = 1_500
"""More than a scheduler has in hand at one time, so that it dies with some handed over and some not."""
DEADLINE_S = 60.0


@contextlib.contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "deploy.local.cli", "serve", "scheduler"]
    with log.open("ab") as output:
        process = subprocess.Popen(argv, cwd=CHECKOUT, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait(20)


async def test_each_firing_is_there_once_when_one_of_two_schedulers_is_killed_in_the_middle(
    engines: Engines, tmp_path: Path
) -> None:
    async with new_database(engines.database_url) as url:
        variables = {
            **engines.kafka.variables(),
            "DATABASE_URL": url,
            "REDIS_URL": engines.redis_url,
            "LAMBDAD_CLUSTER_SECRET": CLUSTER_SECRET,
            "LAMBDAD_DATA_DIR": str(tmp_path),
            "LAMBDAD_EVENTS__TOPIC_PREFIX": f"killed{time.time_ns()}",
            "LAMBDAD_EVENTS__ASYNC_PARTITIONS": "1",
            "LAMBDAD_DISPATCH__CELL": f"killed{time.time_ns()}",
        }
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}
        given = {"database_url": url, "redis_url": engines.redis_url, "data_dir": tmp_path, **engines.kafka.variables()}
        topics = {"topic_prefix": variables["LAMBDAD_EVENTS__TOPIC_PREFIX"], "async_partitions": 1}
        settings = Settings.model_validate({**given, "events": topics})
        await ensure_topics(settings)
        registry = Registry(settings)
        await registry.migrate()
        await registry.open()
        await make(registry)
        seen: set[str] = set()
        owners: set[str] = set()
        with contextlib.ExitStack() as schedulers:
            one, _ = (schedulers.enter_context(running(environment, tmp_path / f"{name}.log")) for name in ("one", "two"))
            async with contextlib.aclosing(fired(settings)) as records:
                async for delivery_id, owner in records:
                    if not seen:
                        one.send_signal(signal.SIGKILL)
                        schedulers.enter_context(running(environment, tmp_path / "again.log"))
                    seen.add(delivery_id)
                    owners.add(owner)
                    if len(owners) == SCHEDULES:
                        break
            await until(lambda: nothing_is_due(registry), "every firing is settled")
        await registry.close()
    assert len(seen) == len(owners) == SCHEDULES


async def nothing_is_due(registry: Registry) -> bool:
    async with registry.read() as connection:
        return await timers.next_at_ms(connection) is None


async def make(registry: Registry) -> None:
    """Schedules that are due the moment a scheduler runs."""
    now_ms = time.time_ns() // 1_000_000
    target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": "r", "Input": "due"}
    at = time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(now_ms // 1_000))
    async with registry.write() as connection:
        await scheduler.find_group(connection, HOME, "default", now_ms)
        for number in range(SCHEDULES):
            schedule = Schedule(
                HOME, "default", f"s{number}", at, "UTC", "ENABLED", None, None, None, None, None, "NONE", target, now_ms, now_ms
            )  # fmt: skip
            await scheduler.create_schedule(connection, schedule)
            await timers.start(connection, schedule.arn, schedule.timing(now_ms), now_ms)


async def fired(settings: Settings) -> AsyncGenerator[tuple[str, str]]:
    """Ids and schedules of all that is handed over, as it is."""
    topic = TopicNames.of(settings.events).deliveries
    consumer = AIOKafkaConsumer(topic, **client_arguments(settings.kafka), auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        delivery = decode_delivery(record.value)
                        yield delivery.delivery_id, delivery.source_arn
    finally:
        await consumer.stop()
