"""Outcomes reach their destinations on real engines, once as a rule and at least once in any case."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from services.poller.delays import DelayConsumer
from services.router.deliveries.contract import Deliverer, DeliveryError, Happened, Happening, TargetMissingError
from services.router.deliveries.courier import Courier
from services.router.deliveries.http_requests import HttpRequests
from services.router.deliveries.targets import Targets
from services.router.deliveries.to_bucket import ToBucket
from services.router.deliveries.to_bus import ToBus
from services.router.deliveries.to_http import ToHttp
from services.router.deliveries.to_topic import ToTopic
from services.router.outcomes.making import deliveries_of
from services.router.topic_consumer import TopicConsumer
from shared.domain.arns import Home
from shared.domain.destinations import ADDRESS, API_DESTINATION, KINDS, Use, is_deliverable
from shared.domain.event_buses import Bus
from shared.events.bus_queue import BusQueue
from shared.events.producer import BatchingProducer
from shared.events.queue import AsyncQueue
from shared.events.records import (
    Condition,
    Delivery,
    KafkaBatchInfo,
    KafkaPartitionInfo,
    LastAttempt,
    Outcome,
    decode_delivery,
    decode_event,
    decode_outcome,
    encode,
)
from shared.events.topics import TopicNames
from shared.queues import Queues, stream_key, topic_key
from shared.queues.records import QueueId, QueueSettings
from shared.registry.registry import Registry
from shared.registry.topic_cache import TopicCache
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from shared.sns.publisher import Publisher
from tests.integration.events.parts import ARN, QUEUE, Functions, make_topic, read_topic, running, settings_of, until

TOPIC = "arn:aws:sns:us-east-1:000000000000:"
ERROR = b'{"errorMessage": "on purpose", "errorType": "Exception"}'


def failure(**more: Any) -> Outcome:
    fields: dict[str, Any] = {
        "event_id": str(uuid.uuid4()),
        "function_arn": f"{ARN}f:$LATEST",
        "condition": Condition.RETRIES_EXHAUSTED,
        "attempts": 3,
        "request_payload": b'{"n": 1}',
        "finished_at_ms": int(time.time() * 1_000),
        "last": LastAttempt("$LATEST", "Unhandled", ERROR),
    }
    return Outcome(**{**fields, **more})


def queue_name() -> str:
    return f"q-{uuid.uuid4().hex[:8]}"


async def a_bus(home: Home, name: str) -> Bus | None:
    return Bus(home, name, None, None, {}, [], 0, 0, 1)


class Router:
    """A router's parts on real engines."""

    def __init__(self, settings: Settings, redis: Redis, producer: BatchingProducer, queue: AsyncQueue) -> None:
        self.names = TopicNames.of(settings.events)
        self.settings = settings
        self.redis = redis
        self.producer = producer
        self.missing: set[str] = set()
        self.queues = Queues.of(settings, self.settings_of_queue, name="test")
        self.functions = Functions()
        self.registry = Registry(settings)
        self.publisher = Publisher(settings, producer)
        topics = ToTopic(TopicCache(self.registry), self.publisher)
        buses = ToBus(BusQueue(settings, producer), a_bus, settings.account_id)
        requests = HttpRequests(settings)
        self.targets = Targets(settings, self.queues, self.functions, queue, topics, buses, requests, ToHttp(requests))
        self.deliverers: dict[str, Deliverer] = dict(self.targets.deliverers)
        self.happened: list[Happened] = []

    async def settings_of_queue(self, queue: QueueId) -> QueueSettings | None:
        return None if queue.name in self.missing else QueueSettings(revision=1)

    async def run(self, stop: asyncio.Event) -> None:
        """What reads outcomes and what reads deliveries."""
        courier = Courier(self.settings, self.producer, self.deliverers, self.targets.keepers, self.happened.append)

        async def deliver(value: bytes) -> None:
            await courier.deliver_now_or_later(deliveries_of(decode_outcome(value)))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(TopicConsumer(self.settings, self.names.outcomes, self.producer, deliver).run(stop))
            tasks.create_task(TopicConsumer(self.settings, self.names.deliveries, self.producer, courier.take_up).run(stop))

    def running(self, **more: Any) -> Any:
        return running(self.run, **more)

    async def tell(self, outcome: Outcome) -> None:
        await self.producer.send(self.names.outcomes, encode(outcome))

    async def messages(self, queue: str) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(stream_key(queue))]

    async def published(self, topic: str) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(topic_key(topic))]


@pytest.fixture
async def router(kafka_engine: KafkaCluster, redis_engine: str, registry_url: str) -> AsyncIterator[Router]:
    settings = settings_of(kafka_engine).model_copy(update={"database_url": registry_url, "redis_url": redis_engine})
    async with made(settings, redis_engine) as found:
        yield found


@contextlib.asynccontextmanager
async def made(settings: Settings, redis_engine: str) -> AsyncIterator[Router]:
    queue = AsyncQueue(settings)
    await queue.open()
    producer = BatchingProducer.of(settings, "test")
    await producer.open()
    parts = Router(settings, Redis.from_url(redis_engine, socket_timeout=5), producer, queue)
    await parts.queues.open()
    async with parts.targets:
        yield parts
    await parts.publisher.close()
    await parts.registry.close()
    await parts.queues.close()
    await producer.close()
    await queue.close()


async def test_a_queue_gets_the_record_and_a_dead_letter_queue_the_event(router: Router) -> None:
    told, dead = queue_name(), queue_name()
    outcome = failure(targets=(QUEUE + told,), dead_letter_arn=QUEUE + dead)
    async with router.running():
        await router.tell(outcome)
        [message] = await until(lambda: router.messages(told))
        [letter] = await until(lambda: router.messages(dead))
    record = json.loads(message[b"body"])
    assert record["requestContext"]["requestId"] == outcome.event_id
    assert record["responsePayload"] == json.loads(ERROR)
    assert json.loads(message[b"attributes"]) == {}
    assert letter[b"body"] == b'{"n": 1}'
    assert json.loads(letter[b"attributes"]) == {
        "RequestID": {"DataType": "String", "StringValue": outcome.event_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "on purpose"},
    }
    assert len(letter[b"md5_of_body"]) == 32
    assert uuid.UUID(letter[b"message_id"].decode())


async def test_a_topic_of_sns_gets_the_event_as_dead_letter(router: Router) -> None:
    name = queue_name()
    outcome = failure(dead_letter_arn=TOPIC + name)
    async with router.running():
        await router.tell(outcome)
        [letter] = await until(lambda: router.published(name))
    assert letter[b"body"] == b'{"n": 1}'
    attributes = json.loads(letter[b"attributes"])
    assert attributes["RequestID"] == {"DataType": "String", "StringValue": outcome.event_id}
    assert attributes["ErrorMessage"] == {"DataType": "String", "StringValue": "on purpose"}


async def test_a_topic_of_sns_gets_the_record_once(router: Router) -> None:
    name = queue_name()
    outcome = failure(targets=(TOPIC + name,))
    async with router.running():
        for _ in range(2):
            await router.tell(outcome)
        await router.tell(failure(targets=(QUEUE + name,)))
        await until(lambda: router.messages(name))
        [message] = await until(lambda: router.published(name))
    assert json.loads(message[b"body"])["requestContext"]["requestId"] == outcome.event_id


async def test_a_function_gets_the_record_as_an_asynchronous_event(router: Router) -> None:
    async with router.running():
        await router.tell(failure(targets=(f"{ARN}next:live",)))
        [queued] = await read_topic(router.settings.kafka, router.names.asynchronous, 1)
    event = decode_event(queued.value)
    assert (event.function_name, event.qualifier, event.attempts) == ("next", "live", 0)
    assert json.loads(event.payload)["requestContext"]["condition"] == "RetriesExhausted"


async def test_a_function_that_is_gone_gets_nothing_and_what_it_should_have_had_is_not_lost(router: Router) -> None:
    router.functions.gone.add("next")
    async with router.running():
        await router.tell(failure(targets=(f"{ARN}next",)))
        [parked] = await read_topic(router.settings.kafka, router.names.undeliverable, 1)
    assert decode_delivery(parked.value).target == f"{ARN}next"
    assert b"Function not found" in dict(parked.headers)["reason"]


async def test_what_is_told_stays_in_the_region_that_it_is_of(router: Router) -> None:
    there, name = ARN.replace("us-east-1", "eu-west-1"), queue_name()
    queue, topic = (arn.replace("us-east-1", "eu-west-1") + name for arn in (QUEUE, TOPIC))
    outcome = failure(function_arn=f"{there}f:$LATEST", targets=(f"{there}next", f"{ARN}next", queue), dead_letter_arn=topic)
    async with router.running():
        await router.tell(outcome)
        [queued] = await read_topic(router.settings.kafka, router.names.asynchronous, 1)
        # Queues and topics of another region than the cluster's own have it in the names of their streams.
        [message] = await until(lambda: router.messages(f"eu-west-1:{name}"))
        await until(lambda: router.published(f"eu-west-1:{name}"))
        # A function of another region is none to which this one's records go.
        [parked] = await read_topic(router.settings.kafka, router.names.undeliverable, 1)
    event = decode_event(queued.value)
    assert (event.function_name, event.region) == ("next", "eu-west-1")
    assert json.loads(message[b"body"])["requestContext"]["functionArn"] == f"{there}f:$LATEST"
    assert decode_delivery(parked.value).target == f"{ARN}next"
    assert not await router.messages(name)


async def test_a_topic_gets_the_records_that_were_given_up(router: Router) -> None:
    kafka = router.settings.kafka
    topic = await make_topic(kafka, 1)
    batch = KafkaBatchInfo(2, "arn:k", kafka.bootstrap_servers, 10, {"t-0": KafkaPartitionInfo(1, 2, 3, 4)})
    payload = b'{"records":{"t-0":[{"offset":1,"timestamp":3,"key":"a2V5"},{"offset":2,"timestamp":4}]}}'
    async with router.running():
        await router.tell(failure(targets=(f"kafka://{topic}",), batch=batch, request_payload=payload))
        first, second = await read_topic(kafka, topic, 2)
    assert (first.key, second.key) == (b"key", None)
    assert json.loads(first.value)["KafkaBatchInfo"]["recordInfo"]["offset"] == "1"


def in_folder(folder: Path) -> ToBucket:
    return ToBucket(Settings.model_validate({"s3": {"endpoint_url": folder.as_uri()}}))


def objects_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_bucket_gets_an_object_with_the_whole_event(router: Router, tmp_path: Path) -> None:
    (tmp_path / "failed").mkdir()
    router.deliverers["s3"] = in_folder(tmp_path)
    payload = b'{"records":{"t-0":[{"offset":1,"timestamp":3}]}}'
    batch = KafkaBatchInfo(1, "arn:k", "b:9092", len(payload), {"t-0": KafkaPartitionInfo(1, 1, 3, 3)}, "the-mapping")
    at_ms = 1_700_000_000_000
    given_up = failure(
        targets=("arn:aws:s3:::failed",), batch=batch, request_payload=payload, finished_at_ms=at_ms, event_id="e"
    )
    event = failure(targets=("arn:aws:s3:::failed",), finished_at_ms=at_ms)
    async with router.running():
        for outcome in (given_up, given_up, event):
            await router.tell(outcome)
        await until(lambda: len(objects_in(tmp_path)) == 2)
    of_batch, of_event = sorted(objects_in(tmp_path), key=lambda path: "async" in str(path))
    assert of_batch.parent == tmp_path / "failed/aws/lambda/the-mapping/t-0/2023/11/14"
    assert of_event.parent == tmp_path / "failed/aws/lambda/async/f/2023/11/14"
    assert of_batch.name.startswith("2023-11-14T22.13.20-")
    record = json.loads(of_batch.read_bytes())
    assert record["payload"] == payload.decode()
    assert record["KafkaBatchInfo"]["recordsInfo"]["t-0"]["firstRecordOffset"] == "1"
    assert json.loads(of_event.read_bytes())["requestPayload"] == {"n": 1}


Arrived = Callable[[], Awaitable[Any]]


async def queue_of(router: Router, _folder: Path) -> tuple[str, Arrived]:
    name = queue_name()
    return QUEUE + name, lambda: router.messages(name)


async def topic_of_sns(router: Router, _folder: Path) -> tuple[str, Arrived]:
    name = queue_name()
    return TOPIC + name, lambda: router.published(name)


async def function_of(router: Router, _folder: Path) -> tuple[str, Arrived]:
    kafka = router.settings.kafka
    return f"{ARN}next", lambda: read_topic(kafka, router.names.asynchronous, 1)


async def bucket_of(router: Router, folder: Path) -> tuple[str, Arrived]:
    (folder / "failed").mkdir()
    router.deliverers["s3"] = in_folder(folder)

    async def arrived() -> list[Path]:
        return objects_in(folder)

    return "arn:aws:s3:::failed", arrived


async def topic_of_kafka(router: Router, _folder: Path) -> tuple[str, Arrived]:
    kafka = router.settings.kafka
    topic = await make_topic(kafka, 1)
    return f"kafka://{topic}", lambda: read_topic(kafka, topic, 1)


async def bus_of(router: Router, _folder: Path) -> tuple[str, Arrived]:
    kafka = router.settings.kafka
    return "arn:aws:events:us-east-1:000000000000:event-bus/b", lambda: read_topic(kafka, router.names.events, 1)


TARGETS = {
    "events": bus_of,
    "sqs": queue_of,
    "sns": topic_of_sns,
    "lambda": function_of,
    "s3": bucket_of,
    "kafka": topic_of_kafka,
}


@pytest.mark.parametrize(("kind", "use"), [(kind.name, use) for kind in KINDS for use in Use if use in kind.uses])
async def test_whatever_may_be_configured_is_delivered(router: Router, tmp_path: Path, kind: str, use: Use) -> None:
    target, arrived = await TARGETS[kind](router, tmp_path)
    assert is_deliverable(target, use)
    if use is Use.DISCARDED_BATCH:
        payload = b'{"records":{"t-0":[{"offset":1,"timestamp":3}]}}'
        servers = router.settings.kafka.bootstrap_servers
        batch = KafkaBatchInfo(1, "arn:k", servers, len(payload), {"t-0": KafkaPartitionInfo(1, 1, 3, 3)}, "m")
        outcome = failure(targets=(target,), batch=batch, request_payload=payload)
    elif use is Use.DEAD_LETTER:
        outcome = failure(dead_letter_arn=target)
    else:
        condition = Condition.SUCCESS if use is Use.ON_SUCCESS else Condition.RETRIES_EXHAUSTED
        outcome = failure(targets=(target,), condition=condition)
    async with router.running():
        await router.tell(outcome)
        await until(arrived)


async def test_the_router_has_a_deliverer_for_every_kind_of_the_catalogue_and_no_other(router: Router) -> None:
    """Addresses are none of the catalogue, they are subscribed to topics; API destinations are targets of rules."""
    assert set(router.targets.deliverers) == {*(kind.name for kind in KINDS), ADDRESS, API_DESTINATION}


async def test_a_bucket_that_is_not_there_is_missing_and_one_that_cannot_be_reached_is_tried_again(tmp_path: Path) -> None:
    [delivery] = deliveries_of(failure(targets=("arn:aws:s3:::late",)))
    with pytest.raises(TargetMissingError, match="no bucket late"):
        await in_folder(tmp_path).deliver(delivery)
    (tmp_path / "late").mkdir()
    await in_folder(tmp_path).deliver(delivery)
    assert len(objects_in(tmp_path)) == 1
    unreachable = Settings.model_validate(
        {"s3": {"endpoint_url": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b", "timeout_s": 1}}
    )
    with pytest.raises(DeliveryError):
        await ToBucket(unreachable).deliver(delivery)


async def test_an_outcome_that_comes_twice_leaves_one_message(router: Router) -> None:
    told, after = queue_name(), queue_name()
    outcome = failure(targets=(QUEUE + told,))
    async with router.running():
        for _ in range(3):
            await router.tell(outcome)
        await until(lambda: router.messages(told))
    async with router.running():
        await router.tell(failure(targets=(QUEUE + after,)))
        await until(lambda: router.messages(after))
    assert len(await router.messages(told)) == 1


async def test_a_destination_that_fails_is_tried_again_and_the_others_are_not(router: Router) -> None:
    told = queue_name()
    failures = iter(range(2))

    class Flaky:
        async def deliver(self, delivery: Delivery) -> None:
            if next(failures, None) is not None:
                raise DeliveryError("not now")
            there = msgspec.structs.replace(delivery, target=QUEUE + told + "-flaky")
            await router.targets.deliverers["sqs"].deliver(there)

    router.deliverers["flaky"] = Flaky()
    async with router.running(), running(DelayConsumer(router.settings, router.producer).run):
        await router.tell(failure(targets=(QUEUE + told, "arn:aws:flaky:x")))
        await until(lambda: router.messages(told + "-flaky"))
    assert len(await router.messages(told)) == 1


@pytest.mark.covers("events", "dest-delivery-failure")
async def test_what_no_destination_takes_is_parked_and_not_lost(router: Router) -> None:
    old_ms = int((time.time() - 7 * 3_600) * 1_000)
    failing_for_long = failure(targets=("arn:aws:broken:x",), finished_at_ms=old_ms)
    table, elsewhere = "arn:aws:dynamodb:us-east-1:000000000000:table/t", "arn:aws:lambda:us-east-1:111111111111:function:f"
    unsupported = failure(targets=(table, elsewhere), dead_letter_arn="arn:aws:nothing:x")

    class Broken:
        async def deliver(self, delivery: Delivery) -> None:
            raise ValueError("a fault")

    router.deliverers["broken"] = Broken()
    async with router.running():
        await router.tell(unsupported)
        await router.tell(failing_for_long)
        await router.producer.send(router.names.outcomes, b"garbage")
        await router.producer.send(router.names.deliveries, b"rubbish")
        parked = await read_topic(router.settings.kafka, router.names.undeliverable, 6)
    kept = [decode_delivery(record.value) for record in parked if record.value not in (b"garbage", b"rubbish")]
    letter = unsupported.dead_letter_arn
    assert sorted((d.origin_id, d.target, d.role.value) for d in kept) == sorted(
        [
            (unsupported.event_id, table, "destination"),
            (unsupported.event_id, elsewhere, "destination"),
            (unsupported.event_id, letter, "dead_letter"),
            (failing_for_long.event_id, failing_for_long.targets[0], "destination"),
        ]
    )
    assert {(h.delivery.target, h.what) for h in router.happened} == {(d.target, Happening.REFUSED) for d in kept}
    reasons = [dict(record.headers)["reason"].decode() for record in parked]
    assert all(reasons)
    assert any("nothing delivers to targets of kind 'dynamodb'" in reason for reason in reasons)


async def test_a_router_that_is_killed_in_the_middle_loses_nothing(router: Router) -> None:
    told = queue_name()
    outcomes = [failure(targets=(QUEUE + told, "arn:aws:gate:x")) for _ in range(40)]
    hang = asyncio.Event()
    passed: set[str] = set()

    class Gate:
        async def deliver(self, delivery: Delivery) -> None:
            if len(passed) == 20:
                await hang.wait()
            passed.add(delivery.origin_id)

    class Open:
        async def deliver(self, delivery: Delivery) -> None:
            passed.add(delivery.origin_id)

    router.deliverers["gate"] = Gate()
    await asyncio.gather(*map(router.tell, outcomes))
    async with router.running(kill=True):
        await until(lambda: len(passed) == 20)
    router.deliverers["gate"] = Open()
    async with router.running():
        await until(lambda: len(passed) == 40)
    ids = [json.loads(m[b"body"])["requestContext"]["requestId"] for m in await router.messages(told)]
    assert sorted(ids) == sorted(o.event_id for o in outcomes)
