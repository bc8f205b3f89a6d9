"""Event source mappings as an owner lives with them, through boto3 and real Kafka."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from shared.queues import stream_key
from tests.e2e.conftest import MakeFunction
from tests.support import wait_until

HERE = "us-east-1:000000000000"
BUILT_IN = f"arn:aws:kafka:{HERE}:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1"
SECRET = [{"Type": "BASIC_AUTH", "URI": f"arn:aws:secretsmanager:{HERE}:secret:s"}]
PICKY = """
import base64
seen = []
def handler(event, context):
    if "tell" in event:
        return seen
    for record in (record for records in event["records"].values() for record in records):
        text = base64.b64decode(record["value"]).decode()
        seen.append(text)
        if text.startswith("bad"):
            raise ValueError(text)
"""


@pytest.fixture
async def producer(cluster: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**client_arguments(cluster.kafka), acks="all")
    await producer.start()
    yield producer
    await producer.stop()


async def new_topic(cluster: Any) -> str:
    name = f"mapped-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(**client_arguments(cluster.kafka))
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    await admin.close()
    return name


async def first_message(cluster: Any, topic: str) -> dict[str, Any]:
    consumer = AIOKafkaConsumer(topic, **client_arguments(cluster.kafka), auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return dict(json.loads((await consumer.getone()).value))
    finally:
        await consumer.stop()


def state_of(client: Any, mapping: str) -> str:
    return str(client.get_event_source_mapping(UUID=mapping)["State"])


def wait_for_state(client: Any, mapping: str, state: str) -> None:
    wait_until(lambda: state_of(client, mapping) == state, deadline_s=60, what=f"the mapping to be {state}")


def is_gone(client: Any, mapping: str) -> bool:
    try:
        client.get_event_source_mapping(UUID=mapping)
    except client.exceptions.ResourceNotFoundException:
        return True
    return False


async def test_what_an_owner_sets_takes_effect_on_the_running_mapping(
    cluster: Any, client: Any, make_function: MakeFunction, producer: AIOKafkaProducer
) -> None:
    topic, failed, queue = await new_topic(cluster), await new_topic(cluster), f"failed-{uuid.uuid4().hex[:8]}"
    streams = redis.Redis.from_url(cluster.environment["QUEUES_REDIS_URL"], decode_responses=True)
    name = make_function(PICKY)
    # One environment at most, so that a direct call sees what the mapping's calls have left in its memory.
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    wait = asyncio.to_thread

    def seen() -> list[str]:
        try:
            return list(json.loads(client.invoke(FunctionName=name, Payload=b'{"tell": 1}')["Payload"].read()))
        except client.exceptions.TooManyRequestsException:
            return []

    mapping = client.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=BUILT_IN,
        Topics=[topic],
        StartingPosition="TRIM_HORIZON",
        BatchSize=10,
        MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=0,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": f"kafka://{failed}"}},
        FilterCriteria={"Filters": [{"Pattern": '{"value": [{"anything-but": ["skipped"]}]}'}]},
    )["UUID"]
    await wait(wait_for_state, client, mapping, "Enabled")
    for text in ("good-1", "bad-1", "skipped", "good-2"):
        await producer.send_and_wait(topic, text.encode())
    await wait(wait_until, lambda: "good-2" in seen(), deadline_s=60, poll_s=0.3, what="the record behind the bad one")
    told = await first_message(cluster, failed)
    assert told["KafkaBatchInfo"]["recordInfo"]["offset"] == "1"
    assert "skipped" not in seen()

    changed = await wait(
        lambda: client.update_event_source_mapping(
            UUID=mapping,
            MaximumRetryAttempts=1,
            DestinationConfig={"OnFailure": {"Destination": f"arn:aws:sqs:{HERE}:{queue}"}},
            FilterCriteria={},
        )
    )
    assert (changed["State"], changed["MaximumRetryAttempts"]) == ("Updating", 1)
    await wait(wait_for_state, client, mapping, "Enabled")
    for text in ("bad-2", "skipped"):
        await producer.send_and_wait(topic, text.encode())
    [message] = await wait(wait_until, lambda: streams.xrange(stream_key(queue)), deadline_s=60, what="the queue's message")
    record = json.loads(message[1]["body"])
    assert (record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"]) == (
        "RetryAttemptsExhausted",
        2,
    )
    await wait(wait_until, lambda: "skipped" in seen(), deadline_s=60, poll_s=0.3, what="what no filter holds back any more")

    client.update_event_source_mapping(UUID=mapping, Enabled=False)
    await wait(wait_for_state, client, mapping, "Disabled")
    before = await wait(wait_until, seen, what="what came so far")
    await producer.send_and_wait(topic, b"while-disabled")
    client.update_event_source_mapping(UUID=mapping, Enabled=True)
    after = await wait(
        wait_until, lambda: (s := seen()) and "while-disabled" in s and s, deadline_s=60, poll_s=0.3, what="what came meanwhile"
    )
    assert after == [*before, "while-disabled"], "it goes on behind the last record that was settled"
    assert client.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "OK"
    assert client.delete_event_source_mapping(UUID=mapping)["State"] == "Deleting"
    await wait(wait_until, lambda: is_gone(client, mapping), deadline_s=30, what="the mapping to be gone")


def test_every_kind_of_source_is_kept_and_reaches_its_states(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context): pass")
    tail = uuid.uuid4().hex[:8]
    sources: dict[str, dict[str, Any]] = {
        "sqs": {"EventSourceArn": f"arn:aws:sqs:{HERE}:{tail}", "ScalingConfig": {"MaximumConcurrency": 2}},
        "kinesis": {"EventSourceArn": f"arn:aws:kinesis:{HERE}:stream/{tail}", "StartingPosition": "LATEST"},
        "dynamodb": {"EventSourceArn": f"arn:aws:dynamodb:{HERE}:table/{tail}/stream/1", "StartingPosition": "LATEST"},
        "mq": {
            "EventSourceArn": f"arn:aws:mq:{HERE}:broker:{tail}:b-1",
            "Queues": ["q"],
            "SourceAccessConfigurations": SECRET,
        },
        "documentdb": {
            "EventSourceArn": f"arn:aws:rds:{HERE}:cluster:{tail}",
            "StartingPosition": "LATEST",
            "DocumentDBEventSourceConfig": {"DatabaseName": "d"},
            "SourceAccessConfigurations": SECRET,
        },
    }
    made = {
        kind: client.create_event_source_mapping(FunctionName=name, Tags={"kind": kind}, **source)
        for kind, source in sources.items()
    }
    listed = client.get_paginator("list_event_source_mappings").paginate(FunctionName=name, PaginationConfig={"PageSize": 2})
    found = [mapping["UUID"] for page in listed for mapping in page["EventSourceMappings"]]
    assert sorted(found) == sorted(mapping["UUID"] for mapping in made.values())
    for kind, mapping in made.items():
        wait_for_state(client, mapping["UUID"], "Enabled")
        shown = client.get_event_source_mapping(UUID=mapping["UUID"])
        unread = "No records processed" if kind in ("kinesis", "dynamodb") else "PROBLEM: "
        assert shown["LastProcessingResult"].startswith(unread)
        assert client.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"] == {"kind": kind}
        with pytest.raises(client.exceptions.ResourceConflictException, match=mapping["UUID"]):
            client.create_event_source_mapping(FunctionName=name, **sources[kind])
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        wait_for_state(client, mapping["UUID"], "Disabled")
        client.delete_event_source_mapping(UUID=mapping["UUID"])
    for mapping in made.values():
        wait_until(lambda uuid=mapping["UUID"]: is_gone(client, uuid), deadline_s=30, what="the mapping to be gone")
