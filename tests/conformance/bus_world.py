"""Event buses with rules whose targets are looked at: what arrives in queues, topics and at functions of what was put."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import redis
from aiokafka import AIOKafkaConsumer
from prometheus_client import REGISTRY as METRICS

from shared.events.bus_events import BusEvent
from shared.events.bus_queue import BusQueue
from shared.events.kafka import client_arguments
from shared.events.producer import BatchingProducer
from shared.events.records import AsyncEvent, decode_event
from shared.events.topics import TopicNames
from shared.settings import Settings
from tests.conformance.control_plane import ControlPlane
from tests.conformance.services.eventbridge.given import PATTERN
from tests.conformance.services.service import ACCOUNT, REGION, unique
from tests.support import ROLE, wait_until, zip_of

Json = dict[str, Any]
ROUTED = "lambdad_bus_event_latency_seconds_count"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
READ_S = 30.0


class BusWorld:
    """region: of the bus. bus: a new one, unless named."""

    def __init__(self, plane: ControlPlane, settings: Settings, region: str = REGION, bus: str | None = None) -> None:
        self._plane = plane
        self._settings = settings
        self._wire = plane.wire("events", "json", region)
        self._redis = redis.Redis.from_url(settings.redis_url, socket_timeout=10)
        self.region = region
        self.bus = bus or unique("bus")
        if bus is None:
            self.call("CreateEventBus", Name=self.bus)
        self.arn = f"arn:aws:events:{region}:{ACCOUNT}:event-bus/{self.bus}"

    def call(self, operation: str, **request: Any) -> Json:
        answer = self._wire.call(operation, request)
        assert answer.status == 200, answer.raw
        found: Json = answer.body or {}
        return found

    def rule(self, *targets: Json, pattern: Json | None = None, **more: Any) -> str:
        """Its name. targets: without their Ids. pattern: the std pattern, unless another one is given."""
        name = unique("rule")
        given = more or {"EventPattern": json.dumps(PATTERN if pattern is None else pattern)}
        self.call("PutRule", Name=name, EventBusName=self.bus, **given)
        listed = [{"Id": f"t{place}", **target} for place, target in enumerate(targets)]
        assert self.call("PutTargets", Rule=name, EventBusName=self.bus, Targets=listed)["FailedEntryCount"] == 0
        return name

    def put(self, *entries: Json, passes: int = 1) -> list[str]:
        """Their ids, once each of them has been dealt with by all the buses that it passes."""
        before = METRICS.get_sample_value(ROUTED) or 0
        sent = [{"EventBusName": self.bus, **entry} for entry in entries]
        answer = self.call("PutEvents", Entries=sent)
        assert answer["FailedEntryCount"] == 0, answer
        self.routed(before + len(entries) * passes)
        return [entry["EventId"] for entry in answer["Entries"]]

    def put_again(self, event: BusEvent) -> None:
        """As it is on the topic of events: what the scheduler does."""
        before = METRICS.get_sample_value(ROUTED) or 0
        asyncio.run(self._put(event))
        self.routed(before + 1)

    def routed(self, count: float) -> None:
        wait_until(lambda: (METRICS.get_sample_value(ROUTED) or 0) >= count, what="the events are routed")

    def bodies(self, queue: str) -> list[str]:
        """What a queue has, by its name."""
        return [fields[b"body"].decode() for _, fields in self._redis.xrange(f"queue:{queue}")]

    def attributes(self, queue: str) -> list[Json]:
        return [json.loads(fields[b"attributes"]) for _, fields in self._redis.xrange(f"queue:{queue}")]

    def function(self) -> str:
        """A function, by its name, which no worker of this cluster will ever run."""
        name = unique("f")
        code = {"ZipFile": zip_of({"app.py": "def handler(event, context):\n    return event\n"})}
        request = {"FunctionName": name, "Runtime": "python3.12", "Handler": "app.handler", "Role": ROLE, "Code": code}
        answer = self._plane.wire("lambda", "rest-json").call("CreateFunction", request)
        assert answer.status == 201, answer.raw
        return name

    def topic(self, queue_arn: str) -> str:
        """The ARN of a topic that a queue is subscribed to."""
        sns = self._plane.wire("sns", "query")
        made = sns.call("CreateTopic", {"Name": unique("topic")})
        assert made.status == 200, made.raw
        arn = str(made.body["TopicArn"])
        subscribed = sns.call("Subscribe", {"TopicArn": arn, "Protocol": "sqs", "Endpoint": queue_arn})
        assert subscribed.status == 200, subscribed.raw
        return arn

    def invocations(self, function: str, count: int) -> list[Any]:
        """The events that wait for a function, by its name: what it is invoked with."""
        found = asyncio.run(self._invocations(function))
        assert len(found) == count, found
        return [json.loads(event.payload) for event in found]

    async def _put(self, event: BusEvent) -> None:
        producer = BatchingProducer.of(self._settings, "test")
        await producer.open()
        try:
            await BusQueue(self._settings, producer).put([event])
        finally:
            await producer.close()

    async def _invocations(self, function: str) -> Sequence[AsyncEvent]:
        topic = TopicNames.of(self._settings.events).asynchronous
        consumer = AIOKafkaConsumer(
            topic, **client_arguments(self._settings.kafka), auto_offset_reset="earliest", group_id=None
        )
        events: list[AsyncEvent] = []
        async with asyncio.timeout(READ_S):
            await consumer.start()
            try:
                partitions = list(consumer.assignment())
                ends = await consumer.end_offsets(partitions)
                await consumer.seek_to_beginning(*partitions)
                while any([await consumer.position(each) < ends[each] for each in partitions]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        events += [decode_event(record.value) for record in records]
            finally:
                await consumer.stop()
        return [event for event in events if event.function_name == function]
