"""What a load is made of. Each kind of traffic remembers what was accepted of it, and counts what came of it, one by one.

What functions see of one another is read from where the cluster tells of ends: the queues of destinations. Times in them are
CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from shared.events.kafka import client_arguments
from shared.queues import stream_key
from shared.settings.kafka import KafkaCluster
from tests.support import PYTHON, ROLE, wait_until, zip_of

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
SOURCE = "def handler(event, context):\n    return {'n': event['n']}\n"
FAILING = "def handler(event, context):\n    raise ValueError(event['n'])\n"
TIMED = """
import time
def handler(event, context):
    began = time.monotonic()
    time.sleep(0.02)
    return {'n': event['n'], 'began': began, 'ended': time.monotonic()}
"""
WITNESSED = """
import base64, boto3, json, os, time
witness = boto3.client('lambda')
def handler(event, context):
    at = time.monotonic()
    told = {'at': at, 'records': {name: [record['offset'] for record in records] for name, records in event['records'].items()}}
    witness.invoke(FunctionName=os.environ['WITNESS'], InvocationType='Event', Payload=json.dumps(told))
"""
WITNESS = "def handler(event, context):\n    return event\n"
RETRIES_MAX = 1
RESERVED = 2


class Queue:
    """The records that a destination has got, read once each. streams: Redis, by a client that outlives its restarts."""

    def __init__(self, streams: Any) -> None:
        self.name = f"chaos-{uuid.uuid4().hex[:8]}"
        self.arn = QUEUE + self.name
        self._streams = streams
        self._last = "-"
        self._records: list[dict[str, Any]] = []

    def records(self) -> list[dict[str, Any]]:
        for position, fields in self._streams.xrange(stream_key(self.name), min=self._last):
            self._last = f"({position}"
            self._records.append(json.loads(fields["body"]))
        return self._records


class Traffic:
    """accepted: what has to come to an end, by an id of its own kind, with the time of acceptance. failures: what was refused."""

    name = ""
    pause_s = 0.005

    def __init__(self, client: Any) -> None:
        self.client = client
        self.accepted: dict[str, float] = {}
        self.failures: list[str] = []

    def open(self) -> None:
        """Make what it needs."""

    def close(self) -> None:
        """Remove what it made."""

    def step(self, number: int) -> None:
        """Send one."""

    def ends(self) -> Counter[str]:
        """How often the end of each accepted one was told."""
        return Counter()

    def wrong(self) -> Iterable[str]:
        """What must never be seen, by counting; looked at when everything has ended."""
        return ()

    def missing(self) -> set[str]:
        return self.accepted.keys() - self.ends().keys()

    def take(self, id: str) -> None:
        self.accepted[id] = time.monotonic()


class Calls(Traffic):
    """Synchronous invocations. answered: numbers of those that came back, each must be right."""

    name = "synchronous calls"
    pause_s = 0.0

    def __init__(self, client: Any, function: str) -> None:
        super().__init__(client)
        self._function = function
        self.answered: list[int] = []
        self._wrong: list[str] = []

    def step(self, number: int) -> None:
        reply = self.client.invoke(FunctionName=self._function, Payload=json.dumps({"n": number}))
        result = json.loads(reply["Payload"].read())
        if result == {"n": number}:
            self.answered.append(number)
        elif "FunctionError" in reply:
            self.failures.append(str(result)[:200])
        else:
            self._wrong.append(f"{number}: {result}")

    def wrong(self) -> list[str]:
        return self._wrong


class Events(Traffic):
    """Asynchronous invocations whose success lands in a queue."""

    name = "events"

    def __init__(self, client: Any, streams: Any, function: str) -> None:
        super().__init__(client)
        self.function = function
        self.queue = Queue(streams)

    def open(self) -> None:
        self.configure(OnSuccess=self.queue.arn)

    def configure(self, **destinations: str) -> None:
        self.client.put_function_event_invoke_config(
            FunctionName=self.function,
            MaximumRetryAttempts=RETRIES_MAX,
            DestinationConfig={name: {"Destination": arn} for name, arn in destinations.items()},
        )

    def step(self, number: int) -> None:
        reply = self.client.invoke(
            FunctionName=self.function, InvocationType="Event", Payload=json.dumps({"n": number}, separators=(",", ":"))
        )
        if reply["StatusCode"] == 202:
            self.take(reply["ResponseMetadata"]["RequestId"])

    def ends(self) -> Counter[str]:
        return Counter(record["requestContext"]["requestId"] for record in self.queue.records())

    def wrong(self) -> list[str]:
        """I6: no more attempts than allowed."""
        attempts = {record["requestContext"]["approximateInvokeCount"] for record in self.queue.records()}
        return [f"{self.name}: {count} attempts" for count in attempts if count > 1 + RETRIES_MAX]


class MadeEvents(Events):
    """Events of a function that is made for them."""

    source = SOURCE

    def __init__(self, client: Any, streams: Any) -> None:
        super().__init__(client, streams, f"chaos-{uuid.uuid4().hex[:8]}")

    def open(self) -> None:
        make_function(self.client, self.function, self.source)
        super().open()

    def close(self) -> None:
        self.client.delete_function(FunctionName=self.function)


class FailingEvents(MadeEvents):
    """Every event fails, is tried again and ends in the queue of failures."""

    name = "failing events"
    source = FAILING
    pause_s = 0.05

    def open(self) -> None:
        super().open()
        self.configure(OnFailure=self.queue.arn)

    def wrong(self) -> list[str]:
        """I6 exactly: what failed was tried as often as it may be, no more, no less."""
        found = [record["requestContext"] for record in self.queue.records()]
        odd = [
            one for one in found if one["condition"] != "RetriesExhausted" or one["approximateInvokeCount"] != 1 + RETRIES_MAX
        ]
        return [f"{self.name}: {one}" for one in odd]


class LimitedEvents(MadeEvents):
    """Of a function with reserved concurrency, which says when it ran."""

    name = "events with a concurrency limit"
    source = TIMED
    pause_s = 0.02

    def open(self) -> None:
        super().open()
        self.client.put_function_concurrency(FunctionName=self.function, ReservedConcurrentExecutions=RESERVED)

    def wrong(self) -> list[str]:
        """I4: never more at once than are reserved. A record that was delivered twice tells of one run."""
        runs = {(told["began"], told["ended"]) for told in (record["responsePayload"] for record in self.queue.records())}
        edges = sorted([(began, 1) for began, _ in runs] + [(ended, -1) for _, ended in runs])
        running = most = 0
        for _, step in edges:
            running += step
            most = max(most, running)
        return [*super().wrong(), *([f"{self.name}: {most} at once, {RESERVED} are reserved"] if most > RESERVED else [])]


class Records(Traffic):
    """Kafka records, keyed, to a function by an event source mapping; it tells a witness of every batch before it ends.

    Accepted is what Kafka has acknowledged to the producer (acks=all), by partition and offset.
    """

    name = "Kafka records"
    pause_s = 0.02
    partitions = 2

    def __init__(self, client: Any, streams: Any, kafka: KafkaCluster) -> None:
        super().__init__(client)
        self._kafka = kafka
        self._topic = f"chaos-{uuid.uuid4().hex[:8]}"
        self._function, self._witness = self._topic, f"{self._topic}-witness"
        self._queue = Queue(streams)
        self._loop = asyncio.new_event_loop()
        self._producer: AIOKafkaProducer | None = None
        self._mapping = ""

    def open(self) -> None:
        make_function(self.client, self._witness, WITNESS)
        self.client.put_function_event_invoke_config(
            FunctionName=self._witness, DestinationConfig={"OnSuccess": {"Destination": self._queue.arn}}
        )
        make_function(self.client, self._function, WITNESSED, WITNESS=self._witness)
        self._loop.run_until_complete(self._make_topic())
        mapping = self.client.create_event_source_mapping(
            FunctionName=self._function,
            Topics=[self._topic],
            EventSourceArn="arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1",
            StartingPosition="TRIM_HORIZON",
            BatchSize=10,
        )
        self._mapping = mapping["UUID"]
        enabled = lambda: self.client.get_event_source_mapping(UUID=self._mapping)["State"] == "Enabled"  # noqa: E731
        wait_until(enabled, deadline_s=60, what="the mapping is enabled")

    def close(self) -> None:
        self.client.delete_event_source_mapping(UUID=self._mapping)
        if self._producer is not None:
            self._loop.run_until_complete(self._producer.stop())
        self._loop.close()
        for name in (self._function, self._witness):
            self.client.delete_function(FunctionName=name)

    def step(self, number: int) -> None:
        partition, offset = self._loop.run_until_complete(self._send(number))
        self.take(f"{partition}/{offset}")

    def ends(self) -> Counter[str]:
        return Counter(
            f"{name.rpartition('-')[2]}/{offset}"
            for told in self._told()
            for name, offsets in told["records"].items()
            for offset in offsets
        )

    def wrong(self) -> list[str]:
        """I5: the first runs of a partition's records are in their order."""
        seen: dict[str, int] = defaultdict(lambda: -1)
        found = []
        for told in sorted(self._told(), key=lambda told: float(told["at"])):
            for name, offsets in told["records"].items():
                for offset in offsets:
                    if offset > seen[name] + 1:
                        found.append(f"{self.name}: {name} went from {seen[name]} to {offset}")
                    seen[name] = max(seen[name], offset)
        return found

    def _told(self) -> list[dict[str, Any]]:
        return [record["responsePayload"] for record in self._queue.records()]

    async def _make_topic(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(**client_arguments(self._kafka))
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self._topic, self.partitions, 1)])
        finally:
            await admin.close()

    async def _send(self, number: int) -> tuple[int, int]:
        if self._producer is None:
            # Idempotent: what is tried again by the client is still one record.
            self._producer = AIOKafkaProducer(
                **client_arguments(self._kafka), enable_idempotence=True, request_timeout_ms=15_000
            )
            await self._producer.start()
        partition = number % self.partitions
        async with asyncio.timeout(60):
            told = await self._producer.send_and_wait(self._topic, b"%d" % number, partition=partition)
        return told.partition, told.offset


def make_function(client: Any, name: str, source: str, **variables: str) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Timeout=10,
        MemorySize=256,
        Environment={"Variables": variables},
        Code={"ZipFile": zip_of({"app.py": source})},
    )
    wait_until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active", what=f"{name} is active")
