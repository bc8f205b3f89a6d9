"""Events whose ends go to other destinations than queues: a function, an event bus, a topic, a Kafka topic."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from tests.chaos.place import Place
from tests.chaos.traffic.contract import NOTHING, Ends, Traffic, arn_of, make_function, send_ends_to, unique
from tests.chaos.traffic.invocations import request_of

PICKY = "def handler(event, context):\n    assert event['good']\n"
POLL_MS = 300


class Destinations(Traffic):
    """Two functions: one tells another function of its successes and a Kafka topic of its failures, the other one a bus and a
    topic. Accepted is what was answered with 202."""

    name = "events with destinations"
    pause_s = 0.05
    receives = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        tag = unique("to")
        self._functions = (f"{tag}-function", f"{tag}-bus")
        self._heir, self._topic_name = f"{tag}-heir", f"{tag}-topic"
        self._topic = ""
        self._queues: list[Ends] = []
        self._loop = asyncio.new_event_loop()
        self._consumer: AIOKafkaConsumer | None = None
        self._from_kafka: Counter[str] = Counter()

    def open(self) -> None:
        client, sns, events = (self.place.client(name) for name in ("lambda", "sns", "events"))
        told = self.place.queue(self._heir)
        from_bus, from_topic = self.place.queue(self._functions[1]), self.place.queue(self._topic_name)
        self._queues = [
            Ends(told, lambda record: request_of(record["requestPayload"])),
            Ends(from_bus, lambda event: request_of(event["detail"])),
            Ends(from_topic, request_of),
        ]
        make_function(client, self._heir, NOTHING)
        send_ends_to(client, self._heir, OnSuccess=told.arn)
        self._topic = sns.create_topic(Name=self._topic_name)["TopicArn"]
        sns.subscribe(TopicArn=self._topic, Protocol="sqs", Endpoint=from_topic.arn, Attributes={"RawMessageDelivery": "true"})
        bus = events.create_event_bus(Name=self._topic_name)["EventBusArn"]
        events.put_rule(Name="all", EventBusName=self._topic_name, EventPattern='{"source": ["lambda"]}')
        events.put_targets(Rule="all", EventBusName=self._topic_name, Targets=[{"Id": "queue", "Arn": from_bus.arn}])
        self._loop.run_until_complete(self._make_topic())
        ends = (
            {"OnSuccess": arn_of(self._heir), "OnFailure": f"kafka://{self._topic_name}"},
            {"OnSuccess": bus, "OnFailure": self._topic},
        )
        for name, destinations in zip(self._functions, ends, strict=True):
            make_function(client, name, PICKY)
            send_ends_to(client, name, **destinations)

    def close(self) -> None:
        client, events = self.place.client("lambda"), self.place.client("events")
        if self._consumer is not None:
            self._loop.run_until_complete(self._consumer.stop())
        self._loop.close()
        for name in (*self._functions, self._heir):
            client.delete_function(FunctionName=name)
        self.place.client("sns").delete_topic(TopicArn=self._topic)
        events.remove_targets(Rule="all", EventBusName=self._topic_name, Ids=["queue"])
        events.delete_rule(Name="all", EventBusName=self._topic_name)
        events.delete_event_bus(Name=self._topic_name)

    def begin(self) -> None:
        super().begin()
        self._from_kafka.clear()
        for each in self._queues:
            each.forget()

    def step(self, number: int) -> None:
        reply = self.place.client("lambda").invoke(
            FunctionName=self._functions[number % 2],
            InvocationType="Event",
            Payload=json.dumps({"good": number // 2 % 2 == 0}),
        )
        if reply["StatusCode"] == 202:
            self.take(reply["ResponseMetadata"]["RequestId"])

    def receive(self) -> None:
        self._loop.run_until_complete(self._read())

    def ends(self) -> Counter[str]:
        return sum((each.counts for each in self._queues), Counter(self._from_kafka))

    @property
    def request_ids(self) -> Iterable[str]:
        return self.accepted

    async def _read(self) -> None:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(**client_arguments(self.place.cluster.kafka), auto_offset_reset="earliest")
            consumer.assign([TopicPartition(self._topic_name, 0)])
            await consumer.start()
            self._consumer = consumer
        found: dict[TopicPartition, list[Any]] = await self._consumer.getmany(timeout_ms=POLL_MS)
        self._from_kafka.update(request_of(json.loads(record.value)) for records in found.values() for record in records)

    async def _make_topic(self) -> None:
        admin = AIOKafkaAdminClient(**client_arguments(self.place.cluster.kafka))
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self._topic_name, 1, 1)])
        finally:
            await admin.close()
