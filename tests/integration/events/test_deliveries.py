"""Deliveries on real engines: tried where they are made, then from the delay tiers, then as dead letters; none holds up another."""

from __future__ import annotations

import asyncio
import functools
import json
import time
import uuid
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from services.poller.delays import DelayConsumer
from services.router import topic_consumer
from services.router.deliveries import courier as courier_module
from services.router.deliveries.contract import DeliveryError, Happening, TargetBusyError
from services.router.deliveries.courier import Courier
from services.router.deliveries.handing_over import UNDER_WAY, HandingOver
from services.router.deliveries.places import Places
from shared.events.kafka import client_arguments
from shared.events.records import Behalf, DeadLetter, Delivery, MessageAttribute, QueueParameters, RetryPolicy, encode
from shared.queues import Queues
from shared.queues.errors import QueueUnavailableError
from shared.queues.records import QueueId
from shared.settings import Settings
from tests.integration.events.parts import ARN, QUEUE, running, until
from tests.integration.events.test_router import Router, queue_name, router

__all__ = ["router"]
RULE = "arn:aws:events:us-east-1:000000000000:rule/r"
FLAKY = "arn:aws:flaky:us-east-1:000000000000:x"


def delivery(target: str, **more: Any) -> Delivery:
    fields = {"behalf": Behalf.EVENTS, "source_arn": RULE, "origin_id": "e", "payload": b'{"n": 1}'}
    made = {"delivery_id": str(uuid.uuid4()), "made_at_ms": time.time_ns() // 1_000_000, "target": target}
    return Delivery(**{**fields, **made, **more})


class Fails:
    """Fails so many times with an error; then keeps what it is given."""

    def __init__(self, times: int, error: DeliveryError) -> None:
        self.left = times
        self.error = error
        self.taken: list[Delivery] = []

    async def deliver(self, delivery: Delivery) -> None:
        if self.left:
            self.left -= 1
            raise self.error
        self.taken.append(delivery)


def courier_of(router: Router) -> Courier:
    return Courier(router.settings, router.producer, router.deliverers, router.targets.keepers, router.happened.append)


def happened(router: Router) -> list[Happening]:
    return [each.what for each in router.happened]


async def test_a_delivery_is_tried_where_it_is_made(router: Router) -> None:
    name = queue_name()
    await courier_of(router).deliver_now_or_later([delivery(QUEUE + name) for _ in range(700)])
    assert len(await router.messages(name)) == 700
    assert happened(router) == [Happening.DELIVERED] * 700


async def test_what_fails_comes_back_from_its_tier_by_its_policy_and_then_becomes_a_dead_letter(router: Router) -> None:
    name = queue_name()
    router.deliverers["flaky"] = flaky = Fails(99, DeliveryError("not now", "THROTTLED"))
    sent = delivery(FLAKY, retry=RetryPolicy(retries_max=2, pauses_s=(0, 2)), dead_letter=DeadLetter(QUEUE + name, b"event"))
    began = time.time()
    async with router.running(), running(DelayConsumer(router.settings, router.producer).run):
        await courier_of(router).deliver_now_or_later([sent])
        [letter] = await until(lambda: router.messages(name))
    # The second pause, of two seconds, was waited for in two tiers of one.
    assert time.time() - began >= 2
    assert 99 - flaky.left == 3
    assert letter[b"body"] == b"event"
    attributes = json.loads(letter[b"attributes"])
    assert attributes["ERROR_CODE"]["StringValue"] == "THROTTLED"
    assert attributes["RETRY_ATTEMPTS"] == {"DataType": "Number", "StringValue": "2"}
    assert happened(router) == [Happening.RETRIED] * 2 + [Happening.DEAD_LETTERED, Happening.DELIVERED]
    assert {each.delivery.delivery_id for each in router.happened[:3]} == {sent.delivery_id}


async def test_a_target_that_is_busy_is_not_tried_and_what_is_too_old_for_it_becomes_a_dead_letter(router: Router) -> None:
    name = queue_name()
    router.deliverers["flaky"] = flaky = Fails(1, TargetBusyError("enough for this second"))
    policy, dead = RetryPolicy(retries_max=5, age_s_max=60), DeadLetter(QUEUE + name)
    async with router.running(), running(DelayConsumer(router.settings, router.producer).run):
        await courier_of(router).deliver_now_or_later([delivery(FLAKY, retry=policy, dead_letter=dead)])
        [taken] = await until(lambda: came(flaky))
    assert (taken.attempts, taken.put_offs) == (0, 1)
    assert happened(router) == [Happening.DELIVERED]
    flaky.left = 1
    old = delivery(FLAKY, retry=policy, dead_letter=dead, made_at_ms=time.time_ns() // 1_000_000 - 61_000)
    await courier_of(router).deliver_now_or_later([old])
    [letter] = await router.messages(name)
    told = json.loads(letter[b"attributes"])
    assert told["EXHAUSTED_RETRY_CONDITION"]["StringValue"] == "MaximumEventAgeInSeconds"


async def came(flaky: Fails) -> list[Delivery]:
    return flaky.taken


async def test_a_service_that_does_not_run_here_refuses_what_is_for_it(router: Router) -> None:
    name, target = queue_name(), "arn:aws:states:us-east-1:000000000000:stateMachine:m"
    await courier_of(router).deliver_now_or_later([delivery(target, dead_letter=DeadLetter(QUEUE + name)), delivery(target)])
    [letter] = await router.messages(name)
    assert json.loads(letter[b"attributes"])["TARGET_ARN"]["StringValue"] == target
    assert sorted(happened(router)) == [Happening.DEAD_LETTERED, Happening.DELIVERED, Happening.REFUSED]


async def test_what_is_meant_for_a_queue_that_is_not_there_is_kept_for_it(router: Router) -> None:
    name, dead, topic = queue_name(), queue_name(), queue_name()
    router.missing.add(name)
    early = delivery(QUEUE + name, attributes={"color": MessageAttribute("String", "red")})
    for _ in range(2):
        await courier_of(router).deliver_now_or_later([early])
    await courier_of(router).deliver_now_or_later([delivery(f"arn:aws:sns:us-east-1:000000000000:{topic}")])
    assert happened(router) == [Happening.KEPT] * 3
    assert [message[b"body"] for message in await router.published(topic)] == [b'{"n": 1}']
    # With a dead-letter queue, that has it.
    await courier_of(router).deliver_now_or_later([delivery(QUEUE + name, dead_letter=DeadLetter(QUEUE + dead))])
    assert len(await router.messages(dead)) == 1
    assert happened(router)[3:] == [Happening.DEAD_LETTERED, Happening.DELIVERED]
    # Once the queue is made, what it should have had is in it.
    router.missing.clear()
    [kept] = await router.queues.receive(QueueId(router.settings.home, name))
    assert (kept.body, kept.attributes["color"].string_value) == (b'{"n": 1}', "red")


@pytest.mark.covers("events", "dlq-undeliverable")
async def test_what_a_queue_cannot_take_is_refused_for_good(router: Router) -> None:
    name = queue_name()
    refused = [
        delivery(QUEUE + name, payload=b"x" * (1024 * 1024 + 1)),
        delivery(f"{QUEUE}{name}.fifo"),
        delivery(f"{QUEUE}{name}.fifo", parameters=QueueParameters("g")),
        delivery(QUEUE + name, attributes={f"a{number}": MessageAttribute("String", "x") for number in range(11)}),
    ]
    await courier_of(router).deliver_now_or_later(refused)
    assert happened(router) == [Happening.REFUSED] * 4
    reasons = " ".join(each.error for each in router.happened)
    assert "too large" in reasons
    assert "nothing says which group" in reasons
    assert "deduplicates" in reasons
    assert "10 attributes at most" in reasons


async def test_a_target_that_hangs_holds_up_no_other(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "Places", functools.partial(Places, 40))
    monkeypatch.setattr(topic_consumer, "IN_FLIGHT_MAX", 40)
    name, hanging, end = queue_name(), asyncio.Event(), asyncio.Event()

    class Hangs:
        async def deliver(self, delivery: Delivery) -> None:
            hanging.set()
            await end.wait()

    router.deliverers["hangs"] = Hangs()
    async with router.running():
        await asyncio.gather(
            *(router.producer.send(router.names.deliveries, encode(delivery("arn:aws:hangs:r:0:x"))) for _ in range(200))
        )
        await hanging.wait()
        await asyncio.gather(
            *(router.producer.send(router.names.deliveries, encode(delivery(QUEUE + name))) for _ in range(50))
        )
        await until(lambda: arrived(router, name, 50))
        end.set()


async def arrived(router: Router, name: str, count: int) -> bool:
    return len(await router.messages(name)) == count


async def events_queued(router: Router) -> int:
    """In all partitions of the topic of asynchronous events."""
    consumer = AIOKafkaConsumer(router.names.asynchronous, **client_arguments(router.settings.kafka))
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(list(consumer.assignment()))).values())
    finally:
        await consumer.stop()


async def test_a_firing_that_two_schedulers_hand_over_is_one_event_of_its_function(router: Router) -> None:
    firing = delivery(
        f"{ARN}f", delivery_id="arn:aws:scheduler:us-east-1:000000000000:schedule/g/s#1#60", behalf=Behalf.SCHEDULER
    )
    async with router.running():
        await asyncio.gather(*(router.producer.send(router.names.deliveries, encode(firing)) for _ in range(20)))
        await until(lambda: len(router.happened) == 20)
    assert happened(router) == [Happening.DELIVERED] * 20
    # Another router, or this one after it was started again.
    await courier_of(router).deliver_now_or_later([firing, delivery(f"{ARN}f")])
    assert await events_queued(router) == 2


async def test_what_a_dead_router_was_handing_over_is_handed_over_and_a_refusal_is_no_hand_over(router: Router) -> None:
    handing_over, done = HandingOver(router.queues), []

    async def refuse() -> None:
        raise DeliveryError("not now")

    async def take() -> None:
        done.append(1)

    await router.redis.set("handed-over:dead", UNDER_WAY, px=300)
    await handing_over.once("dead", take)
    with pytest.raises(DeliveryError):
        await handing_over.once("refused", refuse)
    await handing_over.once("refused", take)
    assert len(done) == 2
    await handing_over.once("refused", take)
    assert len(done) == 2
    assert await router.redis.ttl("handed-over:refused") > 800


async def test_without_redis_a_delivery_to_a_function_is_made(router: Router) -> None:
    nowhere = Settings.model_validate({"queues_redis_url": "redis://127.0.0.1:1/0"})
    queues, done = Queues.of(nowhere, router.settings_of_queue, name="test"), []
    await queues.open()

    async def take() -> None:
        done.append(1)

    try:
        await HandingOver(queues).once("x", take)
    finally:
        await queues.close()
    assert done == [1]


async def test_a_full_redis_gives_no_memory_to_what_is_handed_over(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    handing_over, done = HandingOver(router.queues), []

    async def take() -> None:
        done.append(1)

    def full() -> None:
        raise QueueUnavailableError("queues have filled their share")

    monkeypatch.setattr(router.queues._room, "check", full)
    await handing_over.once("x", take)
    assert done == [1]
    assert await router.redis.exists("handed-over:x") == 0


@pytest.mark.parametrize("behalf", [Behalf.SNS, Behalf.SCHEDULER])
async def test_only_a_fifo_topics_messages_are_held_until_they_are_there(
    router: Router, monkeypatch: pytest.MonkeyPatch, behalf: Behalf
) -> None:
    monkeypatch.setattr(courier_module, "HELD_PAUSE_S_MAX", 0.01)
    router.deliverers["sqs"] = fifo = Fails(10, DeliveryError("not now"))
    target, an_hour_ago = f"{QUEUE}{queue_name()}.fifo", time.time_ns() // 1_000_000 - 3_600_000
    fields: dict[str, Any] = {"behalf": behalf, "made_at_ms": an_hour_ago, "parameters": QueueParameters("g")}
    courier = courier_of(router)
    messages = [delivery(target, payload=str(number).encode(), **fields) for number in range(5)]
    await asyncio.gather(*(courier.deliver_now_or_later([message]) for message in messages))
    if behalf is Behalf.SNS:
        assert [int(taken.payload) for taken in fifo.taken] == [0, 1, 2, 3, 4]
    else:
        assert fifo.taken == []
        assert happened(router) == [Happening.RETRIED] * 5


async def test_messages_of_a_group_keep_their_order_while_the_queue_fails(router: Router) -> None:
    router.deliverers["sqs"] = fifo = Fails(3, DeliveryError("not now"))
    target = f"{QUEUE}{queue_name()}.fifo"

    def message(number: int, group: str) -> Delivery:
        policy = RetryPolicy(pauses_s=(0, 0.01))
        return delivery(target, payload=str(number).encode(), parameters=QueueParameters(group), retry=policy)

    courier = courier_of(router)
    await asyncio.gather(
        *(courier.deliver_now_or_later([message(number, "a"), message(-number, "b")]) for number in range(1, 20))
    )
    numbers = [int(taken.payload) for taken in fifo.taken]
    assert [number for number in numbers if number > 0] == list(range(1, 20))
    assert [number for number in numbers if number < 0] == list(range(-1, -20, -1))
