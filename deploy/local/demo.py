"""`make demo`: one function, invoked synchronously, asynchronously and by Kafka records, through a real client.

Starts the cluster when it is not running; leaves it running.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shlex
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from botocore.exceptions import ClientError

from deploy.local.runtimes import example_runtime
from shared.events.kafka import client_arguments
from shared.queues import stream_key
from shared.settings.kafka import KafkaCluster
from shared.telemetry.logging import expect_plain_passwords

SOURCE = """
import base64, os
invocations = 0
counted = 0

def handler(event, context):
    global invocations, counted
    invocations += 1
    if "records" in event:
        for partition in event["records"].values():
            counted += len(partition)
        return counted
    if "count" in event:
        return counted
    print("hello from", context.function_name, "as uid", os.getuid())
    return {"greeting": "Hello, " + event.get("name", "nobody") + "!", "invocations of this environment": invocations}
"""
ROLE = "arn:aws:iam::000000000000:role/demo"
DEADLINE_S = 60.0
RECORDS = 100


def environment_of_cluster(data_dir: Path) -> dict[str, str]:
    """What `lambdad env` prints, started first if need be. Raises CalledProcessError when the cluster does not come up."""
    lambdad = str(Path(sys.executable).parent / "lambdad")
    words = ["--data-dir", str(data_dir)]
    found = subprocess.run([lambdad, "env", *words], capture_output=True, text=True, timeout=30, check=False)
    if found.returncode != 0:
        subprocess.run([lambdad, "up", "--detach", *words], timeout=600, check=True)
        found = subprocess.run([lambdad, "env", *words], capture_output=True, text=True, timeout=30, check=True)
    pairs = (shlex.split(line)[1].partition("=")[::2] for line in found.stdout.splitlines() if line.startswith("export "))
    return dict(pairs)


def say(title: str, detail: str) -> None:
    print(f"  {title:<34} {detail}", flush=True)


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    """The condition's first truthy answer. Raises TimeoutError after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not happen within {DEADLINE_S:.0f} s; see `lambdad logs`")


def timed_invoke(client: Any, name: str, **parameters: Any) -> tuple[Any, float, Any]:
    start = time.perf_counter()
    reply = client.invoke(FunctionName=name, **parameters)
    elapsed_ms = (time.perf_counter() - start) * 1000
    text = reply["Payload"].read()
    return (json.loads(text) if text else None), elapsed_ms, reply


def package() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", SOURCE)
    return buffer.getvalue()


def show_synchronous(client: Any, name: str) -> None:
    result, cold_ms, reply = timed_invoke(client, name, Payload=b'{"name": "cold"}', LogType="Tail")
    say("synchronous, cold", f"{cold_ms:.1f} ms  {json.dumps(result)}")
    times = sorted(timed_invoke(client, name, Payload=b'{"name": "warm"}')[1] for _ in range(100))
    say("synchronous, warm, 100 calls", f"{times[50]:.2f} ms median, {times[98]:.2f} ms p99, seen by boto3")
    for line in base64.b64decode(reply["LogResult"]).decode().splitlines():
        say("", line.replace("\t", "  "))


def show_asynchronous(client: Any, name: str, streams: Any) -> None:
    queue = f"demo-{uuid.uuid4().hex[:6]}"
    function = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    destination = ":".join(["arn:aws:sqs", *function.split(":")[3:5], queue])
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": destination}})
    start = time.perf_counter()
    _, accepted_ms, reply = timed_invoke(client, name, InvocationType="Event", Payload=b'{"name": "async"}')
    say("asynchronous, accepted", f"{accepted_ms:.1f} ms  status {reply['StatusCode']}, safe in Kafka")
    [(_, fields)] = wait_for("the event's success", lambda: streams.xrange(stream_key(queue)))
    record = json.loads(fields["body"])
    say(
        "asynchronous, at its destination",
        f"{(time.perf_counter() - start) * 1000:.0f} ms  queue {queue}: {record['responsePayload']}",
    )


async def produce(kafka: KafkaCluster, topic: str) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(**client_arguments(kafka), acks="all")
    await producer.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            for number in range(RECORDS):
                await producer.send(topic, json.dumps({"order": number}).encode())
            await producer.flush()
    finally:
        await producer.stop()


def show_kafka(client: Any, name: str, kafka: KafkaCluster, arn: str) -> None:
    topic = f"demo-orders-{uuid.uuid4().hex[:6]}"
    asyncio.run(produce(kafka, topic))
    # One environment at most, so that it can be asked what it has counted.
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    start = time.perf_counter()
    mapping = client.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=arn,
        Topics=[topic],
        StartingPosition="TRIM_HORIZON",
    )

    def counted() -> bool:
        try:
            return bool(timed_invoke(client, name, Payload=b'{"count": 1}')[0] == RECORDS)
        except client.exceptions.TooManyRequestsException:
            return False

    wait_for("the count of all records", counted)
    say("Kafka, from mapping to function", f"{time.perf_counter() - start:.1f} s  {RECORDS} records of topic {topic} counted")
    client.delete_event_source_mapping(UUID=mapping["UUID"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("LAMBDAD_DATA_DIR", ".lambdad")))
    expect_plain_passwords()
    environment = environment_of_cluster(parser.parse_args().data_dir)
    os.environ.update(environment)  # as a person does with `eval "$(lambdad env)"`
    client = boto3.client("lambda")
    streams = redis.Redis.from_url(environment["QUEUES_REDIS_URL"], decode_responses=True)
    name, runtime = f"demo-{uuid.uuid4().hex[:6]}", example_runtime()
    print(f"\nlambdad at {environment['AWS_ENDPOINT_URL']}, function {name}, {runtime}, 1769 MB\n")
    start = time.perf_counter()
    client.create_function(
        FunctionName=name, Runtime=runtime, Handler="app.handler", Role=ROLE, MemorySize=1769, Code={"ZipFile": package()}
    )
    wait_for("the function", lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    say("created and Active", f"{(time.perf_counter() - start) * 1000:.0f} ms")
    try:
        show_synchronous(client, name)
        show_asynchronous(client, name, streams)
        show_kafka(client, name, KafkaCluster.of_variables(environment), environment["LAMBDAD_KAFKA_ARN"])
    except (TimeoutError, ClientError) as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        client.delete_function(FunctionName=name)
        streams.close()
    print("\nThe cluster is still running; `lambdad down` stops it.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
