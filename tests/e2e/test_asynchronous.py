"""Events that are accepted now and run later, and Kafka records that trigger functions."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.e2e.conftest import MakeFunction
from tests.support import wait_until

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


@pytest.fixture(scope="session")
def streams(cluster: Any) -> Any:
    connection = redis.Redis.from_url(cluster.redis_url, decode_responses=True)
    yield connection
    connection.close()


def messages(streams: Any, queue: str) -> list[dict[str, str]]:
    from shared.queues import stream_key

    return [fields for _, fields in streams.xrange(stream_key(queue))]


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


def test_a_function_can_be_the_destination(client: Any, make_function: MakeFunction, streams: Any) -> None:
    queue = f"chain-{uuid.uuid4().hex[:8]}"
    second = make_function("def handler(event, context):\n    return event['responsePayload']\n")
    first = make_function("def handler(event, context):\n    return 'from the first'\n")
    client.put_function_event_invoke_config(
        FunctionName=first, DestinationConfig={"OnSuccess": {"Destination": f"arn:aws:lambda:us-east-1:000000000000:function:{second}"}}
    )
    client.put_function_event_invoke_config(
        FunctionName=second, DestinationConfig={"OnSuccess": {"Destination": QUEUE + queue}}
    )
    client.invoke(FunctionName=first, InvocationType="Event", Payload=b"{}")
    [message] = wait_until(lambda: messages(streams, queue), what="the second function's success")
    assert json.loads(message["body"])["responsePayload"] == "from the first"


async def test_kafka_records_reach_the_function_in_order(cluster: Any, client: Any, make_function: MakeFunction, streams: Any) -> None:
    topic, queue = f"orders-{uuid.uuid4().hex[:8]}", f"bad-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    await admin.close()
    relay = make_function("def handler(event, context):\n    return event\n")
    client.put_function_event_invoke_config(FunctionName=relay, DestinationConfig={"OnSuccess": {"Destination": QUEUE + queue}})
    # The function under test fails on its first batch of a kind: what it answers is seen by a second function that it cannot
    # call itself (it has no network), so the records are told by way of the failure destination of a poison batch.
    name = make_function(
        "import base64\ndef handler(event, context):\n    values = [base64.b64decode(r['value']).decode() for p in event['records'].values() for r in p]\n"
        "    print('BATCH', values)\n    return values\n"
    )
    created = client.create_event_source_mapping(
        FunctionName=name,
        SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [cluster.kafka_bootstrap_servers]}},
        Topics=[topic],
        StartingPosition="TRIM_HORIZON",
        BatchSize=10,
    )
    uuid_ = created["UUID"]
    try:
        producer = AIOKafkaProducer(bootstrap_servers=cluster.kafka_bootstrap_servers, acks="all")
        await producer.start()
        for number in range(100):
            await producer.send_and_wait(topic, str(number).encode(), partition=number % 2)
        await producer.stop()
        wait_until(lambda: client.get_event_source_mapping(UUID=uuid_)["State"] == "Enabled", what="the mapping to be enabled")
        group = created.get("SelfManagedKafkaEventSourceConfig", {}).get("ConsumerGroupId", uuid_)
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka_bootstrap_servers)
        await admin.start()
        try:
            import asyncio

            async with asyncio.timeout(30):
                while True:
                    offsets = await admin.list_consumer_group_offsets(group)
                    if sum(o.offset for o in offsets.values() if o.offset > 0) == 100:
                        break
                    await asyncio.sleep(0.2)
        finally:
            await admin.close()
    finally:
        client.delete_event_source_mapping(UUID=uuid_)
    wait_until(
        lambda: uuid_ not in [m["UUID"] for m in client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]],
        what="the mapping to be gone",
    )
