"""The three real engines, each started from packages as `lambdad up` starts them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import socket
import struct
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from deploy.local.credentials import Credentials
from deploy.local.engines.kafka import KafkaEngine
from deploy.local.engines.starting import make_engine, running
from deploy.local.launch import launch
from shared.events.kafka import client_arguments
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import produce, read_topic, until
from tests.support import PATIENCE_S

METADATA = 3


async def test_redis_keeps_an_append_only_file_and_refuses_rather_than_evicts(redis_engine: str) -> None:
    redis = Redis.from_url(redis_engine, socket_timeout=5)
    async with redis:
        assert (await redis.config_get("appendonly"))["appendonly"] == "yes"
        assert (await redis.config_get("appendfsync"))["appendfsync"] == "no"
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


@pytest.fixture
def entered_by_all() -> Iterator[Path]:
    """A directory that every user may enter, as Postgres's has to."""
    root = Path(tempfile.mkdtemp(prefix="lambdad-test-copy-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="root lends Postgres another user")
async def test_a_postgres_that_root_has_copied_belongs_to_its_user_again(entered_by_all: Path) -> None:
    """As a backup is after `tar --no-same-owner`, or on a machine whose users have other numbers."""
    credentials, log = Credentials.new(), entered_by_all / "logs" / "postgres.log"
    for statement in ("create table kept (n int)", "insert into kept values (1)"):
        for folder, folders, files in os.walk(entered_by_all / "postgres"):
            for name in (*folders, *files):
                os.chown(os.path.join(folder, name), 0, 0)
        engine = make_engine("postgres", entered_by_all, credentials, set())
        with running(engine, log):
            connection = await asyncpg.connect(engine.variables["DATABASE_URL"], timeout=10)
            await connection.execute(statement)
            await connection.close(timeout=5)


async def test_kafka_takes_idempotent_and_transactional_records_and_serves_a_group(kafka_engine: KafkaCluster) -> None:
    topic = f"probe-{uuid.uuid4().hex}"
    producer = AIOKafkaProducer(**client_arguments(kafka_engine), enable_idempotence=True, transactional_id=topic)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"one")
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(
        topic,
        **client_arguments(kafka_engine),
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


async def test_kafka_wants_its_password(kafka_engine: KafkaCluster) -> None:
    anonymous = KafkaCluster(bootstrap_servers=kafka_engine.bootstrap_servers)
    guessed = kafka_engine.model_copy(update={"password": SecretStr("guess")})
    for stranger in (anonymous, guessed):
        client = AIOKafkaConsumer(**client_arguments(stranger), request_timeout_ms=2_000)
        try:
            with pytest.raises((KafkaError, OSError)):
                await asyncio.wait_for(client.start(), PATIENCE_S)
        finally:
            await client.stop()


def test_both_ports_of_kafka_ask_who_is_there(tmp_path: Path) -> None:
    """The controller's port takes orders too, e.g. to make and remove topics."""
    wishes: dict[str, int] = {}
    engine = make_engine("kafka", tmp_path, Credentials.new(), set(), wishes)
    with running(engine, tmp_path / "logs" / "kafka.log"):
        for port in (wishes["kafka"], wishes["kafka_controller"]):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                body = struct.pack(">hhih", METADATA, 1, 1, 1) + b"x" + struct.pack(">i", -1)
                connection.sendall(struct.pack(">i", len(body)) + body)
                assert connection.recv(1) == b"", f"port {port} answers a stranger"


async def test_a_kafka_that_was_made_without_a_password_goes_on_with_one(tmp_path: Path) -> None:
    """Data directories of before 0.2 are such."""
    engine = make_engine("kafka", tmp_path, Credentials.new(), set())
    assert isinstance(engine, KafkaEngine)
    engine.prepare()
    configuration = tmp_path / "kafka" / "server.properties"
    closed = configuration.read_text()
    lines = [
        line.replace("CLIENTS:", "PLAINTEXT:") for line in closed.splitlines() if "sasl" not in line and "protocol" not in line
    ]
    opened = "\n".join(line.replace("CLIENTS", "PLAINTEXT") for line in lines if not line.startswith("inter.broker"))
    before = KafkaCluster(bootstrap_servers=engine.cluster.bootstrap_servers)
    old = dataclasses.replace(engine.launch(), log=tmp_path / "old.log")
    configuration.write_text(opened + "\n")
    process = launch(old)
    try:
        await until(lambda: _takes(before, "kept", b"of before"), "an answer without a password")
    finally:
        process.terminate()
        process.wait(20)
    with running(engine, tmp_path / "logs" / "kafka.log"):
        [record] = await read_topic(engine.cluster, "kept", 1)
    assert record.value == b"of before"
    assert configuration.stat().st_mode & 0o077 == 0


async def _takes(kafka: KafkaCluster, topic: str, value: bytes) -> bool:
    try:
        await produce(kafka, topic, [value])
    except (KafkaError, OSError):
        return False
    return True


def test_settings_point_at_the_running_engines(
    settings: Settings, redis_engine: str, postgres_engine: str, kafka_engine: KafkaCluster
) -> None:
    assert (settings.redis_url, settings.database_url, settings.kafka) == (
        redis_engine,
        postgres_engine,
        kafka_engine,
    )
    assert settings.cluster_secret.get_secret_value()
