"""The Kafka source under rebalances, on a real Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from services.poller.mapping import lanes
from services.poller.sources import catalogue
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.mappings import EventSourceMapping, MappingState
from shared.events import group
from shared.events.group import GroupReader, ReaderOptions
from shared.events.kafka import client_arguments
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import OK, Functions, create_topic, make_topic, mapping_of, produce, settings_of, until
from tests.integration.events.test_mappings import Book, committed_sum, offsets_of, poller_of


@contextlib.asynccontextmanager
async def intruder(kafka: KafkaCluster, mapping: EventSourceMapping) -> AsyncIterator[None]:
    """Another member of the mapping's group that gets its first partition: the assignor goes by the members' names."""
    consumer = AIOKafkaConsumer(
        *mapping.topics,
        **client_arguments(kafka),
        group_id=mapping.consumer_group_id,
        client_id="a",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        await until(lambda: consumer.assignment(), "the partition to leave")
        yield
    finally:
        await consumer.stop()


async def test_a_partition_that_leaves_and_returns_within_one_fetch_is_read_on(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FETCH_WAIT_S", 120.0)
    # The batch outlasts the wait for it, so it runs again.
    monkeypatch.setattr(catalogue, "attempt_s_max", lambda _: 3.0)
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"%d" % n for n in range(3)])
    mapping = mapping_of(topic, batch_size=1)
    gate = asyncio.Event()

    async def waits(_: Invocation) -> InvocationResult:
        await gate.wait()
        return OK

    functions = Functions(waits)
    async with poller_of(settings_of(kafka_engine), Book(mapping), functions):
        await until(lambda: functions.calls)
        async with intruder(kafka_engine, mapping):
            gate.set()
        await produce(kafka_engine, topic, [b"3"])
        await until(lambda: 3 in offsets_of(functions), "what came after the partition had returned")
        await until(lambda: _is(4, committed_sum(kafka_engine, mapping)), "the commit")
    assert offsets_of(functions) == [0, 0, 1, 2, 3]


async def test_a_mapping_whose_offsets_cannot_be_read_for_a_moment_skips_nothing(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await make_topic(kafka_engine)
    mapping = mapping_of(topic, starting_position="LATEST")
    settings, book, functions = settings_of(kafka_engine), Book(mapping), Functions()
    async with poller_of(settings, book, functions):
        await until(lambda: book.state(mapping) is MappingState.ENABLED)
        await produce(kafka_engine, topic, [b"first"])
        await until(lambda: _is(1, committed_sum(kafka_engine, mapping)), "the commit")
    await produce(kafka_engine, topic, [b"while down"])
    monkeypatch.setattr(group, "AIOKafkaAdminClient", failing_once(AIOKafkaAdminClient, "start"))
    async with poller_of(settings, book, functions):
        await until(lambda: 1 in offsets_of(functions), "what was written while nobody read")
    assert offsets_of(functions) == [0, 1]


async def test_a_mapping_that_cannot_be_placed_for_a_moment_reads_nothing_before_its_start(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"old"], timestamp_ms=1_000)
    await produce(kafka_engine, topic, [b"new"])
    mapping = mapping_of(topic, starting_position="AT_TIMESTAMP", starting_timestamp_ms=2_000)
    monkeypatch.setattr(group, "AIOKafkaConsumer", failing_once(AIOKafkaConsumer, "offsets_for_times"))
    functions = Functions()
    async with poller_of(settings_of(kafka_engine), Book(mapping), functions):
        await until(lambda: 1 in offsets_of(functions), "what came after the start")
    assert offsets_of(functions) == [1]


def failing_once(client: type[Any], method: str) -> type[Any]:
    """A client of Kafka whose method fails the first time that it is called on any of them."""
    left = [KafkaConnectionError("on purpose")]

    async def fails_first(self: Any, *args: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return await getattr(client, method)(self, *args, **options)

    return type(client.__name__, (client,), {method: fails_first})


async def test_a_partition_that_another_member_has_read_meanwhile_is_not_kept(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine, 2)
    for partition in (0, 1):
        await produce(kafka_engine, topic, [b"%d" % n for n in range(10)], partition=partition)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    placed: list[set[TopicPartition]] = []
    options = ReaderOptions(kafka_engine, f"g-{topic}", "test", ordered=True, drain_s=0.0)
    async with GroupReader([topic], options, on_placed=lambda kept: placed.append(set(kept))) as reader:
        fetched: set[TopicPartition] = set()
        while fetched != {first, second}:
            fetched |= (await reader.fetch(wait_s=5.0)).keys()
        # As if this member had been away: the other one has committed half of the first partition.
        await reader.consumer.commit({first: OffsetAndMetadata(5, "")})
        await reader.revoked()
        await reader.assigned([first, second])
        reader.settle(first, 3)
        assert (await reader.lag()) == {first: 5, second: 10}
    assert placed == [set(), {second}]


async def _is(expected: int, value: Any) -> bool:
    return bool(await value == expected)


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"old"] * 20)
    mapping, functions = mapping_of(topic), Functions()
    async with poller_of(settings_of(kafka_engine), Book(mapping), functions):
        await until(lambda: _is(20, committed_sum(kafka_engine, mapping)), "the commit")
        admin = AIOKafkaAdminClient(**client_arguments(kafka_engine))
        await admin.start()
        try:
            await admin.delete_topics([topic])
            await until(lambda: _is_gone(admin, topic), "the topic to be gone")
        finally:
            await admin.close()
        await create_topic(kafka_engine, topic)
        await produce(kafka_engine, topic, [b"new"] * 3)
        await until(lambda: len(functions.records()) == 23, "the records of the new topic")
        await until(lambda: _is(3, committed_sum(kafka_engine, mapping)), "the commit")
    assert offsets_of(functions) == [*range(20), *range(3)]


async def test_an_offset_beyond_the_log_is_another_logs(kafka_engine: KafkaCluster) -> None:
    """As when a topic was made anew and its group's offsets outlived the old one."""
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"new"] * 3)
    mapping, functions = mapping_of(topic), Functions()
    async with AIOKafkaConsumer(**client_arguments(kafka_engine), group_id=mapping.consumer_group_id) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(20, "")})
    async with poller_of(settings_of(kafka_engine), Book(mapping), functions):
        await until(lambda: len(functions.records()) == 3, "the records of the new topic")
        await until(lambda: _is(3, committed_sum(kafka_engine, mapping)), "the commit")
    assert offsets_of(functions) == [*range(3)]


async def _is_gone(admin: AIOKafkaAdminClient, topic: str) -> bool:
    return topic not in await admin.list_topics()
