"""Kafka records, by an event source mapping."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from tests.chaos.place import Place
from tests.chaos.queue_reader import QueueReader
from tests.chaos.traffic.contract import Traffic, make_function, send_ends_to, unique
from tests.support import wait_until

WITNESSED = """
import base64, boto3, json, os, time
witness = boto3.client('lambda')
def handler(event, context):
    at = time.monotonic()
    told = {'at': at, 'records': {name: [record['offset'] for record in records] for name, records in event['records'].items()}}
    witness.invoke(FunctionName=os.environ['WITNESS'], InvocationType='Event', Payload=json.dumps(told))
"""
WITNESS = "def handler(event, context):\n    return event\n"
CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1"


class Records(Traffic):
    """To a function that tells a witness of every batch before it ends.

    Accepted is what Kafka has acknowledged to the producer (acks=all), by partition and offset.
    """

    name = "Kafka records"
    pause_s = 0.04
    partitions = 2

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._topic = unique("records")
        self._function, self._witness = self._topic, f"{self._topic}-witness"
        self._queue: QueueReader | None = None
        self._seen: dict[str, int] = defaultdict(lambda: -1)
        self._loop = asyncio.new_event_loop()
        self._producer: AIOKafkaProducer | None = None
        self._mapping = ""

    @property
    def _told(self) -> QueueReader:
        assert self._queue is not None, "open it first"
        return self._queue

    def open(self) -> None:
        client = self.place.client("lambda")
        self._queue = self.place.queue(self._witness)
        make_function(client, self._witness, WITNESS)
        send_ends_to(client, self._witness, OnSuccess=self._told.arn)
        make_function(client, self._function, WITNESSED, WITNESS=self._witness)
        self._loop.run_until_complete(self._make_topic())
        mapping = client.create_event_source_mapping(
            FunctionName=self._function,
            Topics=[self._topic],
            EventSourceArn=CLUSTER,
            StartingPosition="TRIM_HORIZON",
            BatchSize=10,
        )
        self._mapping = mapping["UUID"]
        enabled = lambda: client.get_event_source_mapping(UUID=self._mapping)["State"] == "Enabled"  # noqa: E731
        wait_until(enabled, deadline_s=60, what="the mapping is enabled")

    def close(self) -> None:
        client = self.place.client("lambda")
        client.delete_event_source_mapping(UUID=self._mapping)
        if self._producer is not None:
            self._loop.run_until_complete(self._producer.stop())
        self._loop.close()
        for name in (self._function, self._witness):
            client.delete_function(FunctionName=name)

    def begin(self) -> None:
        """The order goes on where it was."""
        super().begin()
        for told in self._batches():
            for name, offsets in told["records"].items():
                self._seen[name] = max(self._seen[name], *offsets)
        self._told.forget()

    def step(self, number: int) -> None:
        partition, offset = self._loop.run_until_complete(self._send(number))
        self.take(f"{partition}/{offset}")

    def ends(self) -> Counter[str]:
        self._told.read()
        return Counter(
            f"{name.rpartition('-')[2]}/{offset}"
            for told in self._batches()
            for name, offsets in told["records"].items()
            for offset in offsets
        )

    def wrong(self) -> list[str]:
        """I5: the first runs of a partition's records are in their order."""
        seen, found = defaultdict(lambda: -1, self._seen), []
        for told in sorted(self._batches(), key=lambda told: float(told["at"])):
            for name, offsets in told["records"].items():
                for offset in offsets:
                    if offset > seen[name] + 1:
                        found.append(f"{self.name}: {name} went from {seen[name]} to {offset}")
                    seen[name] = max(seen[name], offset)
        return found

    def _batches(self) -> list[dict[str, Any]]:
        return [json.loads(body)["responsePayload"] for body in self._told.bodies]

    async def _make_topic(self) -> None:
        admin = AIOKafkaAdminClient(**client_arguments(self.place.cluster.kafka))
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self._topic, self.partitions, 1)])
        finally:
            await admin.close()

    async def _send(self, number: int) -> tuple[int, int]:
        if self._producer is None:
            # Idempotent: what is tried again by the client is still one record.
            self._producer = AIOKafkaProducer(
                **client_arguments(self.place.cluster.kafka), enable_idempotence=True, request_timeout_ms=15_000
            )
            await self._producer.start()
        partition = number % self.partitions
        async with asyncio.timeout(60):
            told = await self._producer.send_and_wait(self._topic, b"%d" % number, partition=partition)
        return told.partition, told.offset
