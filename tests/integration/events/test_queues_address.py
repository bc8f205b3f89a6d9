"""Queues and topics are kept in a Redis of their own when one is named, and in that of the leases otherwise."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.local.credentials import Credentials
from deploy.local.engines.starting import make_engine
from deploy.local.engines.starting import running as engine_running
from services.router import main as router
from shared.events.producer import BatchingProducer
from shared.events.records import Condition, Outcome, encode
from shared.events.topics import TopicNames
from shared.queues import stream_key, topic_key
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import ARN, QUEUE, running, settings_of, until
from tests.integration.registry.support import new_database

TOPIC = "arn:aws:sns:us-east-1:000000000000:"


@pytest.fixture(scope="module")
def second_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("second")
    engine = make_engine("redis", root, Credentials.new(), set())
    with engine_running(engine, root / "logs" / "redis.log"):
        yield engine.variables["REDIS_URL"]


@pytest.fixture
async def database(postgres_engine: str) -> AsyncIterator[str]:
    async with new_database(postgres_engine) as url:
        yield url


def outcome_for(name: str) -> Outcome:
    return Outcome(
        event_id=str(uuid.uuid4()),
        function_arn=f"{ARN}f:$LATEST",
        condition=Condition.RETRIES_EXHAUSTED,
        attempts=1,
        request_payload=b"{}",
        finished_at_ms=int(time.time() * 1_000),
        targets=(QUEUE + name, TOPIC + name),
        dead_letter_arn=QUEUE + name,
    )


async def delivered(settings: Settings, name: str, to: str) -> None:
    """Returns once the queue has both its messages and the topic its one, in the Redis at `to`."""
    producer = BatchingProducer.of(settings, "test")
    await producer.open()
    try:
        async with Redis.from_url(to, socket_timeout=5) as redis, running(lambda stop: router.serve(settings, stop)):
            await producer.send(TopicNames.of(settings.events).outcomes, encode(outcome_for(name)))

            async def there() -> bool:
                return (await redis.xlen(stream_key(name)), await redis.xlen(topic_key(name))) == (2, 1)

            await until(there)
    finally:
        await producer.close()


async def keys_of(url: str, name: str) -> list[Any]:
    async with Redis.from_url(url, socket_timeout=5) as redis:
        return [key async for key in redis.scan_iter(match=f"*{name}*")]


async def test_queues_are_in_the_redis_that_is_named_for_them(
    kafka_engine: KafkaCluster, redis_engine: str, second_redis: str, database: str, tmp_path: Path
) -> None:
    name = f"q-{uuid.uuid4().hex[:8]}"
    apart = {"database_url": database, "redis_url": redis_engine, "queues_redis_url": second_redis, "data_dir": tmp_path}
    await delivered(settings_of(kafka_engine).model_copy(update=apart), name, second_redis)
    assert await keys_of(redis_engine, name) == []


async def test_queues_are_beside_the_leases_by_default(
    kafka_engine: KafkaCluster, redis_engine: str, database: str, tmp_path: Path
) -> None:
    name = f"q-{uuid.uuid4().hex[:8]}"
    together = {"database_url": database, "redis_url": redis_engine, "data_dir": tmp_path}
    await delivered(settings_of(kafka_engine).model_copy(update=together), name, redis_engine)


def test_the_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://leases:6379/0")
    monkeypatch.setenv("QUEUES_REDIS_URL", "")
    assert Settings().queues_url == "redis://leases:6379/0"
    monkeypatch.setenv("QUEUES_REDIS_URL", "redis://queues:6379/0")
    assert (Settings().queues_url, Settings().redis_url) == ("redis://queues:6379/0", "redis://leases:6379/0")
