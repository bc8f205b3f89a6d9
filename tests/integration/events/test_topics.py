"""How the event topics are configured on a real Kafka."""

from __future__ import annotations

import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.poller.delays import DelayConsumer
from shared.events import forgetting
from shared.events.kafka import client_arguments
from shared.events.producer import BatchingProducer
from shared.events.tiers import RETURN_TOPIC_HEADER, DelayTiers
from shared.events.topics import TopicNames, ensure_topics
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import read_topic, running, settings_of, until

MIB = 1024**2


async def test_what_functions_log_is_bounded_in_bytes_also_on_a_topic_that_was_not(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine, log_bytes_max=256 * MIB)
    logs = TopicNames.of(settings.events).logs
    await ensure_topics(settings)
    found = await configuration(kafka_engine, logs)
    partitions = settings.events.async_partitions
    assert kept(found) * partitions <= 256 * MIB
    assert int(found["retention.bytes"]) * partitions >= 128 * MIB
    for smaller in (128, 64):
        changed = {**settings.events.model_dump(), "log_bytes_max": smaller * MIB}
        await ensure_topics(Settings.model_validate(kafka_engine.variables() | {"events": changed}), [logs])

        async def bounded(most: int = smaller * MIB) -> bool:
            return kept(await configuration(kafka_engine, logs)) * partitions <= most

        # Kafka acknowledges a new configuration before its brokers tell of it.
        await until(bounded, f"a bound of {smaller} MiB")
        assert (await configuration(kafka_engine, logs))["retention.ms"] == str(7 * 24 * 3_600 * 1_000)


async def test_what_must_not_be_lost_is_bounded_by_time_alone(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine)
    names = TopicNames.of(settings.events)
    await ensure_topics(settings)
    for name in (names.asynchronous, names.outcomes, names.undeliverable, *names.delays()):
        assert (await configuration(kafka_engine, name))["retention.bytes"] == "-1"


async def test_what_has_left_a_delay_tier_leaves_the_disk_and_what_waits_stays(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "EVERY_S", 0.1)
    settings = settings_of(kafka_engine, backoffs_s=(1, 300))
    names = TopicNames.of(settings.events)
    await ensure_topics(settings)
    producer = BatchingProducer.of(settings, "test")
    await producer.open()
    try:
        tiers = DelayTiers(settings.events, producer)
        for delay_s in (1, 300):
            for number in range(10):
                await tiers.put(delay_s, names.deliveries, b"%d" % number)
        async with running(DelayConsumer(settings, producer).run):
            await until(lambda: first_offsets(kafka_engine, names, 10, 0), "those that are due are forgotten")
        assert len(await read_topic(kafka_engine, names.deliveries, 10)) == 10
    finally:
        await producer.close()


async def test_what_is_due_in_a_tier_passes_nothing_by_that_is_not(kafka_engine: KafkaCluster) -> None:
    """Several write to a tier, so times in it are not in order."""
    settings = settings_of(kafka_engine)
    names = TopicNames.of(settings.events)
    await ensure_topics(settings)
    writer, producer = AIOKafkaProducer(**client_arguments(kafka_engine)), BatchingProducer.of(settings, "test")
    await writer.start()
    await producer.open()
    now_ms = time.time_ns() // 1_000_000
    try:
        for number, written_ms in enumerate((now_ms - 5_000, now_ms + 2_000, now_ms - 4_000, now_ms - 3_000)):
            headers = [(RETURN_TOPIC_HEADER, names.deliveries.encode())]
            await writer.send_and_wait(names.delay(1), b"%d" % number, timestamp_ms=written_ms, headers=headers)
        async with running(DelayConsumer(settings, producer).run):
            returned = await read_topic(kafka_engine, names.deliveries, 4)
        assert [record.value for record in returned] == [b"0", b"1", b"2", b"3"]
    finally:
        await producer.close()
        await writer.stop()


async def first_offsets(kafka: KafkaCluster, names: TopicNames, due: int, waiting: int) -> bool:
    tiers = [TopicPartition(names.delay(delay_s), 0) for delay_s in (1, 300)]
    consumer = AIOKafkaConsumer(**client_arguments(kafka))
    await consumer.start()
    try:
        found = await consumer.beginning_offsets(tiers)
        return [found[tier] for tier in tiers] == [due, waiting]
    finally:
        await consumer.stop()


def kept(found: dict[str, str]) -> int:
    """Bytes that a partition has at most: what is kept, and the segment that is written to."""
    return int(found["retention.bytes"]) + int(found["segment.bytes"])


async def configuration(kafka: KafkaCluster, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        [described] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    [(*_, entries)] = described.resources
    return {entry[0]: entry[1] for entry in entries}
