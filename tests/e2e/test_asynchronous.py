"""Events that are accepted now and run later, and Kafka records that trigger functions."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from tests.e2e.conftest import MakeFunction
from tests.support import wait_until

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


@pytest.fixture(scope="session")
def streams(cluster: Any) -> Any:
    connection = redis.Redis.from_url(cluster.environment["QUEUES_REDIS_URL"], decode_responses=True)
    yield connection
    connection.close()


def messages(streams: Any, queue: str) -> list[dict[str, str]]:
    from shared.queues import stream_key

    return [fields for _, fields in streams.xrange(stream_key(queue))]


@pytest.mark.covers("events", "async-accept")
def test_an_event_is_accepted_runs_and_its_success_reaches_the_destination(
    client: Any, make_function: MakeFunction, streams: Any
) -> None:
    name = make_function("def handler(event, context):\n    return {'doubled': event['n'] * 2}\n")
    queue = f"done-{uuid.uuid4().hex[:8]}"
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": {"Destination": QUEUE + queue}}
    )
    reply = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": 21}))
    assert reply["StatusCode"] == 202
    assert reply["Payload"].read() == b""
    [message] = wait_until(lambda: messages(streams, queue), what="the destination's message")
    record = json.loads(message["body"])
    assert record["requestContext"]["requestId"] == reply["ResponseMetadata"]["RequestId"]
    assert record["requestContext"]["condition"] == "Success"
    assert record["requestPayload"] == {"n": 21}
    assert record["responsePayload"] == {"doubled": 42}


def test_an_event_follows_the_configuration_that_stood_when_it_was_accepted(
    client: Any, make_function: MakeFunction, streams: Any
) -> None:
    name = make_function("def handler(event, context):\n    return event\n")
    for turn in range(5):
        queue = f"turn-{uuid.uuid4().hex[:8]}"
        client.put_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": QUEUE + queue}}
        )
        client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(turn))
        [message] = wait_until(lambda queue=queue: messages(streams, queue), what=f"the message of turn {turn}")
        assert json.loads(message["body"])["responsePayload"] == turn


def test_an_event_is_not_given_up_for_a_limit_that_was_taken_away_before_it_came(
    client: Any, make_function: MakeFunction, streams: Any
) -> None:
    name = make_function("def handler(event, context):\n    return event\n")
    queue = f"limit-{uuid.uuid4().hex[:8]}"
    told = {"OnSuccess": {"Destination": QUEUE + queue}, "OnFailure": {"Destination": QUEUE + queue}}
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=told)
    for turn, condition in enumerate(("ZeroReservedConcurrency", "Success") * 2, 1):
        if condition == "Success":
            client.delete_function_concurrency(FunctionName=name)
        else:
            client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"turn": turn}))
        wait_until(lambda turn=turn: len(messages(streams, queue)) == turn, what="the record of it")
        record = json.loads(messages(streams, queue)[-1]["body"])
        assert (record["requestContext"]["condition"], record["requestPayload"]) == (condition, {"turn": turn})


def test_an_event_that_fails_for_good_reaches_the_dead_letter_queue_and_the_destination(
    client: Any, make_function: MakeFunction, streams: Any
) -> None:
    dead, failed = f"dead-{uuid.uuid4().hex[:8]}", f"failed-{uuid.uuid4().hex[:8]}"
    name = make_function(
        "def handler(event, context):\n    raise RuntimeError('never works')\n", DeadLetterConfig={"TargetArn": QUEUE + dead}
    )
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": QUEUE + failed}}
    )
    request_id = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"k": 1}')["ResponseMetadata"]["RequestId"]
    [letter] = wait_until(lambda: messages(streams, dead), what="the dead letter")
    assert json.loads(letter["body"]) == {"k": 1}
    assert request_id in letter["attributes"]
    [message] = wait_until(lambda: messages(streams, failed), what="the failure record")
    record = json.loads(message["body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responsePayload"]["errorMessage"] == "never works"


@pytest.mark.covers("events", "event-lambda-destination-target", "dest-record-by-target")
def test_a_function_can_be_the_destination(client: Any, make_function: MakeFunction, streams: Any) -> None:
    queue = f"chain-{uuid.uuid4().hex[:8]}"
    second = make_function("def handler(event, context):\n    return event['responsePayload']\n")
    first = make_function("def handler(event, context):\n    return 'from the first'\n")
    client.put_function_event_invoke_config(
        FunctionName=first,
        DestinationConfig={"OnSuccess": {"Destination": f"arn:aws:lambda:us-east-1:000000000000:function:{second}"}},
    )
    client.put_function_event_invoke_config(
        FunctionName=second, DestinationConfig={"OnSuccess": {"Destination": QUEUE + queue}}
    )
    client.invoke(FunctionName=first, InvocationType="Event", Payload=b"{}")
    [message] = wait_until(lambda: messages(streams, queue), what="the second function's success")
    assert json.loads(message["body"])["responsePayload"] == "from the first"


COLLECT = """
import base64
seen = {}
def handler(event, context):
    if "tell" in event:
        return seen
    for name, records in event["records"].items():
        seen.setdefault(name, []).extend(int(base64.b64decode(record["value"])) for record in records)
"""


async def test_kafka_records_reach_the_function_in_order(cluster: Any, client: Any, make_function: MakeFunction) -> None:
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(**client_arguments(cluster.kafka))
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    await admin.close()
    name = make_function(COLLECT)
    # One environment at most, so that a direct call sees what the mapping's calls have left in its memory.
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    mapping = client.create_event_source_mapping(
        FunctionName=name,
        SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [cluster.environment["KAFKA_BOOTSTRAP_SERVERS"]]}},
        Topics=[topic],
        BatchSize=10,
    )["UUID"]
    try:
        producer = AIOKafkaProducer(**client_arguments(cluster.kafka), acks="all")
        await producer.start()
        for number in range(60):
            await producer.send_and_wait(topic, str(number).encode(), partition=number % 2)
        await producer.stop()

        def seen() -> dict[str, list[int]]:
            try:
                reply = client.invoke(FunctionName=name, Payload=b'{"tell": 1}')
            except client.exceptions.TooManyRequestsException:
                return {}
            return dict(json.loads(reply["Payload"].read()))

        def all_seen() -> dict[str, list[int]]:
            found = seen()
            return found if sum(len(set(values)) for values in found.values()) == 60 else {}

        found = await asyncio.to_thread(wait_until, all_seen, deadline_s=60, poll_s=0.3, what="all 60 records")
        for partition in (0, 1):
            values = list(dict.fromkeys(found[f"{topic}-{partition}"]))
            assert values == list(range(partition, 60, 2))
        assert client.get_event_source_mapping(UUID=mapping)["State"] == "Enabled"
    finally:
        client.delete_event_source_mapping(UUID=mapping)

    def gone() -> bool:
        left = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        return mapping not in [m["UUID"] for m in left]

    await asyncio.to_thread(wait_until, gone, what="the mapping to be gone")
