"""How the event topics are configured on a real Kafka."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.events.kafka import client_arguments
from shared.events.topics import TopicNames, ensure_topics
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import settings_of, until

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
