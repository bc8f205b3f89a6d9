"""The three real engines, each started from packages as `lambdad up` starts them."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from shared.settings import Settings


async def test_redis_keeps_an_append_only_file_and_refuses_rather_than_evicts(redis_engine: str) -> None:
    redis = Redis.from_url(redis_engine, socket_timeout=5)
    async with redis:
        assert (await redis.config_get("appendonly"))["appendonly"] == "yes"
        assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        assert int((await redis.config_get("maxmemory"))["maxmemory"]) > 0


async def test_redis_wants_its_password(redis_engine: str) -> None:
    anonymous = Redis(host="127.0.0.1", port=urlsplit(redis_engine).port or 0, socket_timeout=5)
    async with anonymous:
        with pytest.raises(AuthenticationError):
            await anonymous.ping()


async def test_postgres_has_the_database_and_makes_commits_durable(postgres_engine: str) -> None:
    connection = await asyncpg.connect(postgres_engine, timeout=10)
    try:
        assert await connection.fetchval("select current_database()") == "lambdad"
        assert await connection.fetchval("show fsync") == "on"
        assert await connection.fetchval("show synchronous_commit") == "on"
    finally:
        await connection.close(timeout=5)


async def test_kafka_takes_idempotent_and_transactional_records_and_serves_a_group(kafka_engine: str) -> None:
    topic = f"probe-{uuid.uuid4().hex}"
    producer = AIOKafkaProducer(bootstrap_servers=kafka_engine, enable_idempotence=True, transactional_id=topic)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"one")
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka_engine,
        group_id=topic,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        record = await consumer.getone()
        assert record.value == b"one"
        await consumer.commit()
        assert await consumer.committed(TopicPartition(topic, record.partition)) == record.offset + 1
    finally:
        await consumer.stop()


def test_settings_point_at_the_running_engines(
    settings: Settings, redis_engine: str, postgres_engine: str, kafka_engine: str
) -> None:
    assert (settings.redis_url, settings.database_url, settings.kafka_bootstrap_servers) == (
        redis_engine,
        postgres_engine,
        kafka_engine,
    )
    assert settings.cluster_secret.get_secret_value()
