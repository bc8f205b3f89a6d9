"""Kafka event source mappings on a real Kafka: order, batches, offsets, life and trouble."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnsupportedCodecError

from services.poller.assignment import MappingManager
from services.poller.mapping import delivery
from services.poller.mapping.running_mapping import SOURCE_FAILURES
from shared.domain.errors import ServiceException
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.mappings import ErrorHandling, EventSourceMapping, MappingState, SourceKind
from shared.events.kafka import client_arguments
from shared.events.producer import BatchingProducer
from shared.events.records import Condition, decode_outcome
from shared.events.topics import TopicNames, ensure_topics
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import (
    ARN,
    FAILED,
    OK,
    QUEUE,
    Functions,
    committed,
    create_topic,
    make_topic,
    mapping_of,
    produce,
    read_topic,
    running,
    settings_of,
    until,
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_BACKOFF_S", (0.05,))
    monkeypatch.setattr(delivery, "REFUSED_BACKOFF_S", (0.05,))


class Book:
    """The registry's mappings, kept in memory: what a test's owner does and what the poller writes."""

    def __init__(self, *mappings: EventSourceMapping) -> None:
        self.rows = {mapping.uuid: mapping for mapping in mappings}
        self._changed = asyncio.Event()
        self.states: list[MappingState] = []

    def change(self, mapping: EventSourceMapping, **fields: Any) -> None:
        row = self.rows[mapping.uuid]
        self.rows[mapping.uuid] = msgspec.structs.replace(row, revision=row.revision + 1, **fields)
        self._changed.set()

    def state(self, mapping: EventSourceMapping) -> MappingState | None:
        row = self.rows.get(mapping.uuid)
        return None if row is None else row.state

    async def list_all(self) -> list[EventSourceMapping]:
        return list(self.rows.values())

    async def changes(self) -> AsyncIterator[None]:
        while True:
            self._changed.clear()
            yield
            await self._changed.wait()

    async def set_state(
        self,
        uuid: str,
        state: MappingState,
        reason: str,
        last_processing_result: str | None = None,
        *,
        revision: int | None = None,
    ) -> bool:
        row = self.rows.get(uuid)
        if row is None or row.state is MappingState.DELETING or row.revision != revision:
            return False
        told = row.last_processing_result if last_processing_result is None else last_processing_result
        self.rows[uuid] = msgspec.structs.replace(row, state=state, state_reason=reason, last_processing_result=told)
        self.states.append(state)
        return True

    async def set_last_result(self, uuid: str, last_processing_result: str) -> None:
        if uuid in self.rows:
            self.rows[uuid] = msgspec.structs.replace(self.rows[uuid], last_processing_result=last_processing_result)

    async def delete(self, uuid: str) -> bool:
        return self.rows.pop(uuid, None) is not None


@contextlib.asynccontextmanager
async def poller_of(settings: Settings, book: Book, functions: Functions, *, kill: bool = False) -> AsyncIterator[None]:
    producer = BatchingProducer.of(settings, "test")
    await producer.open()
    try:
        async with running(MappingManager(settings, book, functions, producer).run, kill=kill):
            yield
    finally:
        await producer.close()


def offsets_of(functions: Functions, partition: int = 0) -> list[int]:
    return [r["offset"] for r in functions.records() if r["partition"] == partition]


async def committed_sum(kafka: KafkaCluster, mapping: EventSourceMapping) -> int:
    return sum(max(0, found.offset) for found in (await committed(kafka, mapping.consumer_group_id)).values())


async def test_records_arrive_in_order_in_batches_and_are_committed_behind(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine, 2)
    for partition in (0, 1):
        await produce(
            kafka_engine, topic, [b"%d" % n for n in range(95)], partition=partition, key=b"k", headers=[("h", b"\x01")]
        )
    mapping = mapping_of(topic)
    book, functions = Book(mapping), Functions()
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: len(functions.records()) == 190)
        await until(lambda: book.rows[mapping.uuid].last_processing_result == "OK")
        await until(lambda: _is(190, committed_sum(kafka_engine, mapping)), "the commit")
    for partition in (0, 1):
        assert offsets_of(functions, partition) == list(range(95))
    events = [json.loads(call.payload) for call in functions.calls]
    assert all(len(records) <= 10 for event in events for records in event["records"].values())
    assert {name for event in events for name in event["records"]} == {f"{topic}-0", f"{topic}-1"}
    assert events[0]["bootstrapServers"] == kafka_engine.bootstrap_servers
    [first, *_] = functions.records()
    assert (first["key"], first["headers"], first["timestampType"]) == ("aw==", [{"h": [1]}], "CREATE_TIME")


async def _is(expected: int, value: Any) -> bool:
    return bool(await value == expected)


async def test_a_mapping_lives_through_enabling_updating_disabling_and_deleting(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    mapping = mapping_of(topic)
    book, functions = Book(mapping), Functions()
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: book.state(mapping) is MappingState.ENABLED)
        book.change(mapping, state=MappingState.DISABLING, enabled=False)
        await until(lambda: book.state(mapping) is MappingState.DISABLED)
        await produce(kafka_engine, topic, [b"while disabled"])
        book.change(mapping, state=MappingState.ENABLING, enabled=True)
        await until(lambda: book.state(mapping) is MappingState.ENABLED)
        await until(lambda: len(functions.records()) == 1, "what was written while it was disabled")
        book.change(mapping, state=MappingState.UPDATING, function_name="other", function_arn=f"{ARN}other")
        await until(lambda: book.state(mapping) is MappingState.ENABLED)
        await produce(kafka_engine, topic, [b"after the update"])
        await until(lambda: functions.names[-1] == "other")
        book.change(mapping, state=MappingState.DELETING)
        await until(lambda: book.state(mapping) is None)
    assert offsets_of(functions) == [0, 1]


async def test_a_mapping_that_is_created_disabled_polls_nothing(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"x"])
    mapping = mapping_of(topic, enabled=False)
    book, functions = Book(mapping), Functions()
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: book.state(mapping) is MappingState.DISABLED)
    assert functions.calls == []


async def test_trouble_is_shown_as_the_mappings_last_result_and_ends_by_itself(kafka_engine: KafkaCluster) -> None:
    missing = mapping_of(f"late-{uuid.uuid4().hex[:8]}")
    unknown = mapping_of("x", source_arn="arn:aws:kafka:us-east-1:000000000000:cluster/elsewhere/1")
    unreachable = mapping_of("x", kind=SourceKind.SELF_MANAGED_KAFKA, source_arn=None, bootstrap_servers=("127.0.0.1:1",))
    book, functions = Book(missing, unknown, unreachable), Functions()
    async with poller_of(settings_of(kafka_engine), book, functions):
        for mapping, words, reason in (
            (missing, "does not exist", "USER_INITIATED"),
            (unknown, "No cluster", "ESM_CONFIG_NOT_VALID"),
            (unreachable, "Connection error. Please check your event source connection configuration.", "USER_INITIATED"),
        ):
            await until(lambda m=mapping, w=words: w in book.rows[m.uuid].last_processing_result, words)
            row = book.rows[mapping.uuid]
            assert row.last_processing_result.startswith("PROBLEM: ")
            assert (row.state, row.state_reason) == (MappingState.ENABLED, reason)
        await create_topic(kafka_engine, missing.topics[0])
        await until(lambda: book.rows[missing.uuid].last_processing_result == "No records processed")
        await produce(kafka_engine, missing.topics[0], [b"x"])
        await until(lambda: functions.calls)
        await until(lambda: book.rows[missing.uuid].last_processing_result == "OK")


async def test_trouble_of_before_a_restart_is_over_once_the_source_is_read_and_a_failed_call_is_not(
    kafka_engine: KafkaCluster,
) -> None:
    topic = await make_topic(kafka_engine)
    trouble = mapping_of(topic, state=MappingState.ENABLED, last_processing_result="PROBLEM: Connection error.")
    failed = mapping_of(topic, state=MappingState.CREATING, last_processing_result="PROBLEM: Function call failed")
    book = Book(trouble, failed)
    async with poller_of(settings_of(kafka_engine), book, Functions()):
        await until(lambda: book.rows[trouble.uuid].last_processing_result == "No records processed")
        await until(lambda: book.state(failed) is MappingState.ENABLED)
        assert book.rows[failed.uuid].last_processing_result == "PROBLEM: Function call failed"


async def test_named_and_self_managed_clusters_are_read(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"x"])
    named = mapping_of(topic, source_arn="arn:aws:kafka:us-east-1:000000000000:cluster/mine/1", function_name="named")
    own = mapping_of(
        topic,
        kind=SourceKind.SELF_MANAGED_KAFKA,
        source_arn=None,
        bootstrap_servers=(kafka_engine.bootstrap_servers,),
        function_name="own",
    )
    functions = Functions()
    async with poller_of(settings_of(kafka_engine, kafka_clusters={"mine": kafka_engine}), Book(named, own), functions):
        await until(lambda: sorted(functions.names) == ["named", "own"])
    sources = {
        name: json.loads(call.payload)["eventSource"] for name, call in zip(functions.names, functions.calls, strict=True)
    }
    assert sources == {"named": "aws:kafka", "own": "SelfManagedKafka"}


async def test_starting_positions_are_kept_over_a_restart(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"old"], timestamp_ms=1_000)
    middle_ms = int(time.time() * 1_000) - 60_000
    await produce(kafka_engine, topic, [b"middle"], timestamp_ms=middle_ms)
    latest = mapping_of(topic, starting_position="LATEST", function_name="latest")
    since = mapping_of(topic, starting_position="AT_TIMESTAMP", starting_timestamp_ms=middle_ms - 1, function_name="since")
    settings, book, functions = settings_of(kafka_engine), Book(latest, since), Functions()
    async with poller_of(settings, book, functions):
        await until(lambda: all(book.state(m) is MappingState.ENABLED for m in (latest, since)))
        await until(lambda: functions.names == ["since"])
    await produce(kafka_engine, topic, [b"while down"])
    async with poller_of(settings, book, functions):
        await until(lambda: len(functions.calls) == 3)
    seen = sorted((name, r["offset"]) for name, r in zip(functions.names, functions.records(), strict=True))
    assert seen == [("latest", 2), ("since", 1), ("since", 2)]


async def test_a_poison_batch_holds_its_partition_only_and_goes_to_the_destination(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine, 2)
    await produce(kafka_engine, topic, [b"bad", b"bad", b"good"], partition=0)
    await produce(kafka_engine, topic, [b"good"] * 3, partition=1)
    mapping = mapping_of(topic, batch_size=2, on_failure_arn=f"{QUEUE}q", error_handling=ErrorHandling(retry_attempts_max=2))
    settings, functions = settings_of(kafka_engine), Functions(bad_ones_fail)
    await ensure_topics(settings)
    async with poller_of(settings, Book(mapping), functions):
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
        await until(lambda: offsets_of(functions).count(2) == 1, "the good record behind the poison")
        await until(lambda: _is(6, committed_sum(kafka_engine, mapping)), "the commit")
    assert offsets_of(functions) == [0, 1, 0, 1, 0, 1, 2]
    assert offsets_of(functions, 1) == [0, 1, 2]
    outcome = decode_outcome(told.value)
    assert (outcome.condition, outcome.attempts) == (Condition.RETRY_ATTEMPTS_EXHAUSTED, 3)
    assert outcome.batch is not None
    assert list(outcome.batch.partitions) == [f"{topic}-0"]


async def bad_ones_fail(invocation: Invocation) -> InvocationResult:
    return FAILED if b"YmFk" in invocation.payload else OK


async def told_of(kafka: KafkaCluster, settings: Settings, count: int) -> list[Any]:
    return [decode_outcome(told.value) for told in await read_topic(kafka, TopicNames.of(settings.events).outcomes, count)]


async def test_a_batch_is_halved_until_its_poison_is_alone_and_given_up(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"good", b"good", b"bad", b"good"])
    mapping = mapping_of(
        topic, on_failure_arn=f"{QUEUE}q", error_handling=ErrorHandling(retry_attempts_max=1, bisect_on_error=True)
    )
    settings, functions = settings_of(kafka_engine), Functions(bad_ones_fail)
    await ensure_topics(settings)
    async with poller_of(settings, Book(mapping), functions):
        [outcome] = await told_of(kafka_engine, settings, 1)
        await until(lambda: _is(4, committed_sum(kafka_engine, mapping)), "the commit")
    assert outcome.batch.partitions[f"{topic}-0"].first_offset == outcome.batch.partitions[f"{topic}-0"].last_offset == 2
    assert outcome.attempts == 2
    batches = [[r["offset"] for r in json.loads(call.payload)["records"][f"{topic}-0"]] for call in functions.calls]
    assert batches == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [2], [3]]


async def test_only_what_the_function_reports_is_tried_again(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"good", b"bad", b"good"])

    async def reports(invocation: Invocation) -> InvocationResult:
        [(name, records)] = json.loads(invocation.payload)["records"].items()
        bad = [{"itemIdentifier": {"partition": name, "offset": r["offset"]}} for r in records if r["value"] == "YmFk"]
        return InvocationResult(json.dumps({"batchItemFailures": bad}).encode(), "$LATEST")

    handling = ErrorHandling(retry_attempts_max=0, report_batch_item_failures=True)
    mapping = mapping_of(topic, on_failure_arn=f"{QUEUE}q", error_handling=handling)
    settings, functions = settings_of(kafka_engine), Functions(reports)
    await ensure_topics(settings)
    async with poller_of(settings, Book(mapping), functions):
        [outcome] = await told_of(kafka_engine, settings, 1)
        await until(lambda: _is(3, committed_sum(kafka_engine, mapping)), "the commit")
    assert offsets_of(functions) == [0, 1, 2, 1]
    assert (outcome.batch.batch_size, outcome.last.function_error) == (1, None)


async def test_records_over_the_age_are_given_up_unseen_and_committed(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"old", b"old"], timestamp_ms=int(time.time() * 1_000) - 80_000)
    await produce(kafka_engine, topic, [b"fresh"])
    mapping = mapping_of(topic, on_failure_arn=f"{QUEUE}q", error_handling=ErrorHandling(record_age_s_max=60))
    settings, functions = settings_of(kafka_engine), Functions()
    await ensure_topics(settings)
    async with poller_of(settings, Book(mapping), functions):
        [outcome] = await told_of(kafka_engine, settings, 1)
        await until(lambda: _is(3, committed_sum(kafka_engine, mapping)), "the commit")
    assert offsets_of(functions) == [2]
    assert (outcome.condition, outcome.attempts, outcome.batch.batch_size) == (Condition.RECORD_AGE_EXCEEDED, 1, 2)


async def test_an_update_takes_effect_on_a_batch_that_is_being_tried_for_ever(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"bad", b"good"])
    mapping = mapping_of(topic, batch_size=1)
    book, functions = Book(mapping), Functions(bad_ones_fail)
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: len(functions.calls) > 3)
        assert await committed_sum(kafka_engine, mapping) == 0, "a record that is not settled was committed"
        book.change(mapping, state=MappingState.UPDATING, error_handling=ErrorHandling(retry_attempts_max=1))
        await until(lambda: 1 in offsets_of(functions), "the record behind it")
        await until(lambda: _is(2, committed_sum(kafka_engine, mapping)), "the commit")
        assert book.state(mapping) is MappingState.ENABLED


async def test_disabling_ends_even_endless_retries_and_enabling_goes_on_from_the_same_record(
    kafka_engine: KafkaCluster,
) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"good", b"bad", b"good"])
    mapping, witness = mapping_of(topic, batch_size=1), mapping_of(topic, batch_size=1, function_name="witness")
    book, functions = Book(mapping, witness), Functions(bad_ones_fail)

    def seen(name: str) -> list[int]:
        return [r["offset"] for called, r in zip(functions.names, functions.records(), strict=True) if called == name]

    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: seen("f").count(1) > 2)
        book.change(mapping, state=MappingState.DISABLING, enabled=False)
        await until(lambda: book.state(mapping) is MappingState.DISABLED)
        before = seen("f")
        assert await committed_sum(kafka_engine, mapping) == 1
        functions.behave = functions._works
        await produce(kafka_engine, topic, [b"while disabled"])
        await until(lambda: 3 in seen("witness"), "the other mapping to have read everything")
        assert seen("f") == before, "a disabled mapping ran its function"
        book.change(mapping, state=MappingState.ENABLING, enabled=True)
        await until(lambda: _is(4, committed_sum(kafka_engine, mapping)), "the commit")
    assert seen("f")[len(before) :] == [1, 2, 3]


class Slow:
    """A function that answers when it is told to."""

    def __init__(self) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Invocation) -> InvocationResult:
        self.began.set()
        await self.may_end.wait()
        return OK


async def test_a_mapping_goes_on_after_an_update_though_the_registry_is_away_once_it_has_stopped(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await make_topic(kafka_engine)
    mapping = mapping_of(topic)
    book, functions = Book(mapping), Functions()
    read = book.list_all

    async def away() -> list[EventSourceMapping]:
        raise ServiceException("the registry is away")

    answers = [read, away]

    async def list_all() -> list[EventSourceMapping]:
        return await (answers.pop(0) if answers else read)()

    await produce(kafka_engine, topic, [b"1"])
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: len(functions.records()) == 1)
        monkeypatch.setattr(book, "list_all", list_all)
        book.change(mapping, batch_size=5)
        await until(lambda: not answers)
        await produce(kafka_engine, topic, [b"2"])
        await until(lambda: len(functions.records()) == 2)


@pytest.mark.parametrize("then", [{"state": MappingState.DISABLING, "enabled": False}, {"state": MappingState.UPDATING}])
async def test_a_batch_that_runs_when_its_mapping_pauses_ends_and_is_not_repeated(
    kafka_engine: KafkaCluster, then: dict[str, Any]
) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"0", b"1"])
    mapping, other = mapping_of(topic, batch_size=1), mapping_of(topic, function_name="other", enabled=False)
    slow = Slow()
    book, functions = Book(mapping, other), Functions(slow)
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(slow.began.is_set, "the first batch to run")
        book.change(mapping, **then)
        # Meanwhile the poller does what other owners want.
        book.change(other, state=MappingState.ENABLING, enabled=True)
        await until(lambda: "other" in functions.names, "the other mapping to run")
        assert book.state(mapping) is then["state"]
        slow.may_end.set()
        settled = MappingState.ENABLED if then["state"] is MappingState.UPDATING else MappingState.DISABLED
        await until(lambda: book.state(mapping) is settled, "the state")
        if settled is MappingState.DISABLED:
            assert functions.names.count("f") == 1
            book.change(mapping, state=MappingState.ENABLING, enabled=True)
        await until(lambda: _is(2, committed_sum(kafka_engine, mapping)), "the commit")
    assert [r["offset"] for name, r in zip(functions.names, functions.records(), strict=False) if name == "f"] == [0, 1]


async def test_a_batch_that_runs_when_its_partition_moves_ends_and_is_not_repeated(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine, 2)
    for partition in (0, 1):
        await produce(kafka_engine, topic, [b"x"], partition=partition)
    mapping, settings, slow = mapping_of(topic), settings_of(kafka_engine), Slow()
    functions, others = Functions(slow), Functions()
    async with poller_of(settings, Book(mapping), functions):
        await until(lambda: len(functions.calls) == 2, "both partitions to run")
        async with poller_of(settings, Book(mapping), others):
            admin = AIOKafkaAdminClient(**client_arguments(kafka_engine))
            await admin.start()
            try:
                await until(lambda: _group_state(admin, mapping, "PreparingRebalance"), "the second one to join")
            finally:
                await admin.close()
            asked = time.monotonic()
            await until(lambda: time.monotonic() > asked + 4, "longer than a move used to wait")
            slow.may_end.set()
            await until(lambda: _is(2, committed_sum(kafka_engine, mapping)), "the commit")

            async def both_work() -> bool:
                await produce(kafka_engine, topic, [b"y"] * 4)
                return bool(others.calls and len(functions.calls) > 2)

            await until(both_work, "records at both")
    seen = [(r["partition"], r["offset"]) for f in (functions, others) for r in f.records()]
    assert len(seen) == len(set(seen))


async def _group_state(admin: AIOKafkaAdminClient, mapping: EventSourceMapping, state: str) -> bool:
    [described] = await admin.describe_consumer_groups([mapping.consumer_group_id])
    [(_, _, found, *_)] = described.groups
    return bool(found == state)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_are_read_whatever_they_are_compressed_with(kafka_engine: KafkaCluster, codec: str) -> None:
    topic = await make_topic(kafka_engine)
    producer = AIOKafkaProducer(**client_arguments(kafka_engine), compression_type=codec)
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(topic, b"compressible " * 200) for _ in range(10)])
    finally:
        await producer.stop()
    functions = Functions()
    async with poller_of(settings_of(kafka_engine), Book(mapping_of(topic)), functions):
        await until(lambda: len(functions.records()) == 10, "the records")
    assert {base64.b64decode(record["value"]) for record in functions.records()} == {b"compressible " * 200}


async def test_a_source_that_cannot_be_read_on_is_the_mappings_last_result_until_it_is_read_again(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was with records whose codec is missing: the mapping said that there were no records."""
    topic = await make_topic(kafka_engine)
    mapping, functions = mapping_of(topic), Functions()
    book, failures = Book(mapping), SOURCE_FAILURES.labels(mapping.kind.value)._value
    before, works = failures.get(), AIOKafkaConsumer.getmany

    async def fails(*_: object, **__: object) -> object:
        raise UnsupportedCodecError("Libraries for snappy compression codec not found")

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", fails)
    async with poller_of(settings_of(kafka_engine), book, functions):
        await until(lambda: "snappy" in book.rows[mapping.uuid].last_processing_result, "the problem")
        assert book.rows[mapping.uuid].last_processing_result.startswith("PROBLEM: The event source cannot be read: ")
        assert book.state(mapping) is MappingState.ENABLED
        assert failures.get() > before
        monkeypatch.setattr(AIOKafkaConsumer, "getmany", works)
        await produce(kafka_engine, topic, [b"x"])
        await until(lambda: book.rows[mapping.uuid].last_processing_result == "OK", "a good end")


async def test_sources_that_nothing_reads_yet_reach_their_states_and_say_so(kafka_engine: KafkaCluster) -> None:
    queue = mapping_of("x", kind=SourceKind.SQS, source_arn=f"{QUEUE}q", topics=(), last_processing_result="")
    stream = mapping_of("x", kind=SourceKind.KINESIS, source_arn="arn:aws:kinesis:us-east-1:000000000000:stream/s", topics=())
    disabled = mapping_of("x", kind=SourceKind.MQ, source_arn="arn:aws:mq:us-east-1:000000000000:broker:b:b-1", enabled=False)
    book, functions = Book(queue, stream, disabled), Functions()
    async with poller_of(settings_of(kafka_engine), book, functions):
        for mapping in (queue, stream):
            await until(lambda m=mapping: book.state(m) is MappingState.ENABLED)
        await until(lambda: book.state(disabled) is MappingState.DISABLED)
        assert book.rows[queue.uuid].last_processing_result.startswith("PROBLEM: Amazon SQS event sources are not read yet")
        assert book.rows[stream.uuid].last_processing_result == "No records processed"
        reasons = (book.rows[queue.uuid].state_reason, book.rows[stream.uuid].state_reason)
        assert reasons == ("USER_INITIATED", "User action")
        book.change(disabled, state=MappingState.ENABLING, enabled=True)
        await until(lambda: book.state(disabled) is MappingState.ENABLED)
        for mapping in (queue, stream, disabled):
            book.change(mapping, state=MappingState.DELETING)
        await until(lambda: not book.rows)
    assert functions.calls == []


async def test_filtered_records_are_not_sent_and_are_committed(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b'{"k": "%s"}' % kind for kind in (b"a", b"b", b"a", b"b")])
    mapping = mapping_of(topic, filters=('{"value": {"k": ["a"]}}',))
    functions = Functions()
    async with poller_of(settings_of(kafka_engine), Book(mapping), functions):
        await until(lambda: offsets_of(functions) == [0, 2])
        await until(lambda: _is(4, committed_sum(kafka_engine, mapping)), "the commit")


async def test_a_poller_that_is_killed_loses_no_record_and_keeps_the_order(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine)
    await produce(kafka_engine, topic, [b"%d" % n for n in range(100)])
    mapping, settings = mapping_of(topic), settings_of(kafka_engine)
    hang = asyncio.Event()

    async def hangs_at_40(invocation: Invocation) -> InvocationResult:
        if json.loads(invocation.payload)["records"][f"{topic}-0"][0]["offset"] >= 40:
            await hang.wait()
        return OK

    first, second = Functions(hangs_at_40), Functions()
    async with poller_of(settings, Book(mapping), first, kill=True):
        await until(lambda: 40 in offsets_of(first))
    async with poller_of(settings, Book(mapping), second):
        await until(lambda: 99 in offsets_of(second))
    again = offsets_of(second)
    assert again == list(range(again[0], 100))
    assert again[0] <= 40


async def test_two_pollers_share_a_mappings_partitions_without_running_a_record_twice(kafka_engine: KafkaCluster) -> None:
    topic = await make_topic(kafka_engine, 4)
    mapping, settings, functions, others = mapping_of(topic), settings_of(kafka_engine), Functions(), Functions()
    async with poller_of(settings, Book(mapping), functions), poller_of(settings, Book(mapping), others):

        async def both_work() -> bool:
            await produce(kafka_engine, topic, [b"x"] * 40)
            return bool(functions.calls and others.calls)

        await until(both_work, "records at both")
    seen = [(r["partition"], r["offset"]) for f in (functions, others) for r in f.records()]
    assert len(seen) == len(set(seen))
