"""What follows from a try at a delivery that failed, and what a dead letter says."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from services.router.deliveries import places as places_module
from services.router.deliveries.contract import DeliveryError, TargetMissingError, UndeliverableError
from services.router.deliveries.decisions import PUT_OFFS_MAX, Again, Decision, Letter, Over, after_failure, put_off, too_old
from services.router.deliveries.places import Places
from shared.events.producer import BatchingProducer
from shared.events.records import Behalf, DeadLetter, Delivery, MessageAttribute, QueueParameters, RetryPolicy, Role
from shared.events.tiers import DelayTiers
from shared.settings import EventSettings

RULE, QUEUE, DEAD = "arn:aws:events:r:0:rule/x", "arn:aws:sqs:r:0:q", "arn:aws:sqs:r:0:dead"
NOW_MS = 1_700_000_000_000
FAILED = DeliveryError("Redis is away", "SERVICE_UNAVAILABLE")


@pytest.fixture
async def tiers() -> DelayTiers:
    settings = EventSettings()
    return DelayTiers(settings, BatchingProducer.__new__(BatchingProducer))


def delivery(**more: Any) -> Delivery:
    fields = {"delivery_id": "d", "behalf": Behalf.EVENTS, "source_arn": RULE, "origin_id": "e", "target": QUEUE}
    return Delivery(**{**fields, "payload": b"{}", "made_at_ms": NOW_MS, **more})


def tries(first: Delivery, error: DeliveryError, tiers: DelayTiers) -> tuple[list[float], Decision]:
    """The pauses between the tries, and how they end; tried as soon as each is due."""
    pauses: list[float] = []
    now_ms, current = first.made_at_ms, first
    while isinstance(decision := after_failure(current, error, now_ms, tiers), Again):
        pauses.append(decision.pause_s)
        current, now_ms = decision.delivery, decision.delivery.due_ms
    return pauses, decision


@pytest.mark.covers("events", "async-retry-delays-function-error")
async def test_a_function_that_failed_is_run_again_after_one_minute_and_after_two(tiers: DelayTiers) -> None:
    assert [tiers.retry_delay_s(attempts) for attempts in (1, 2)] == [60, 120]


@pytest.mark.covers("events", "event-sns-retries", "async-throttle-and-system-retry")
async def test_without_a_policy_pauses_double_up_to_five_minutes_for_six_hours(tiers: DelayTiers) -> None:
    pauses, end = tries(delivery(), FAILED, tiers)
    assert pauses[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert sum(pauses) == 6 * 3_600
    assert isinstance(end, Over)


async def test_a_target_that_asks_for_time_gets_it_as_long_as_there_is_some(tiers: DelayTiers) -> None:
    policy = RetryPolicy(age_s_max=60, pauses_s=(1,))
    pauses, _ = tries(delivery(retry=policy), DeliveryError("busy", after_s=25), tiers)
    assert pauses == [25, 25, 10]


async def test_a_delivery_is_too_old_by_its_policy() -> None:
    made = delivery(retry=RetryPolicy(age_s_max=60))
    assert [too_old(made, NOW_MS + passed_s * 1_000) for passed_s in (0, 59, 60, 61)] == [False, False, True, True]


async def test_a_policy_says_how_often_and_with_which_pauses(tiers: DelayTiers) -> None:
    pauses, end = tries(delivery(retry=RetryPolicy(retries_max=5, pauses_s=(0, 0, 1, 20))), FAILED, tiers)
    assert pauses == [0, 0, 1, 20, 20]
    assert isinstance(end, Over)
    assert tries(delivery(retry=RetryPolicy(retries_max=0)), FAILED, tiers)[0] == []


async def test_the_last_try_is_when_the_age_is_reached(tiers: DelayTiers) -> None:
    pauses, _ = tries(delivery(retry=RetryPolicy(age_s_max=60)), FAILED, tiers)
    assert pauses == [1, 2, 4, 8, 16, 29]


@pytest.mark.parametrize("error", [UndeliverableError("too large"), TargetMissingError("no such queue")])
async def test_what_a_target_will_never_take_is_not_tried_again(error: DeliveryError, tiers: DelayTiers) -> None:
    assert tries(delivery(), error, tiers) == ([], Over())
    pauses, end = tries(delivery(dead_letter=DeadLetter(DEAD)), error, tiers)
    assert (pauses, isinstance(end, Letter)) == ([], True)


def text(value: str) -> MessageAttribute:
    return MessageAttribute("String", value)


async def test_a_dead_letter_of_eventbridge_says_why_it_is_there(tiers: DelayTiers) -> None:
    made = delivery(retry=RetryPolicy(retries_max=2), dead_letter=DeadLetter(DEAD, b"the event"), trace="Root=1")
    _, end = tries(made, FAILED, tiers)
    assert isinstance(end, Letter)
    letter = end.delivery
    assert (letter.target, letter.payload, letter.role, letter.trace) == (DEAD, b"the event", Role.DEAD_LETTER, "Root=1")
    assert letter.delivery_id != made.delivery_id
    assert letter.attributes == {
        "RULE_ARN": text(RULE),
        "TARGET_ARN": text(QUEUE),
        "ERROR_CODE": text("SERVICE_UNAVAILABLE"),
        "ERROR_MESSAGE": text("Redis is away"),
        "EXHAUSTED_RETRY_CONDITION": text("MaximumRetryAttempts"),
        "RETRY_ATTEMPTS": MessageAttribute("Number", "2"),
    }
    # It is a delivery with all its tries before it, and without a dead letter of its own.
    assert (letter.attempts, letter.retry, letter.dead_letter) == (0, RetryPolicy(), None)


async def test_a_dead_letter_says_when_it_was_the_age_and_nothing_of_retries_that_were_not_made(tiers: DelayTiers) -> None:
    made = delivery(retry=RetryPolicy(age_s_max=60), dead_letter=DeadLetter(DEAD), behalf=Behalf.SCHEDULER)
    _, old = tries(made, FAILED, tiers)
    assert isinstance(old, Letter)
    assert old.delivery.attributes["EXHAUSTED_RETRY_CONDITION"] == text("MaximumEventAgeInSeconds")
    assert old.delivery.attributes["SCHEDULE_ARN"] == text(RULE)
    _, missing = tries(made, TargetMissingError("no such queue"), tiers)
    assert isinstance(missing, Letter)
    assert "EXHAUSTED_RETRY_CONDITION" not in missing.delivery.attributes
    assert missing.delivery.attributes["RETRY_ATTEMPTS"].text == "0"


async def test_sns_adds_nothing_to_what_the_endpoint_would_have_got(tiers: DelayTiers) -> None:
    own = {"color": text("red")}
    letter = DeadLetter(DEAD + ".fifo", b"envelope", own, QueueParameters("g", "once"))
    _, end = tries(delivery(behalf=Behalf.SNS, dead_letter=letter), TargetMissingError("gone"), tiers)
    assert isinstance(end, Letter)
    assert (end.delivery.payload, end.delivery.attributes) == (b"envelope", own)
    assert end.delivery.parameters == QueueParameters("g", "once")


async def test_what_waits_for_a_busy_target_comes_back_soon_and_has_used_no_try(tiers: DelayTiers) -> None:
    pauses, current = [], delivery()
    for _ in range(10):
        again = put_off(current, NOW_MS, tiers)
        pauses.append(again.pause_s)
        current = again.delivery
    assert pauses == [1, 2, 4, 8, 16, 16, 16, 16, 16, 16]
    assert current.attempts == 0
    assert PUT_OFFS_MAX == 4
    [first], _ = tries(msgspec.structs.replace(current, retry=RetryPolicy(retries_max=1, pauses_s=(7,))), FAILED, tiers)
    assert first == 7


async def test_a_target_that_hangs_leaves_places_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "WAIT_S_MAX", 0.05)
    places = Places(trying_max=10)
    held = [await places.take("hangs", 1) for _ in range(5)]
    assert None not in held
    waits = asyncio.create_task(places.take("hangs", 1))
    for other in range(4):
        assert await places.take(f"other-{other}", 1) is not None
    assert await waits is None
    # Known to be slow, it is not waited for.
    assert await places.take("hangs", 1) is None


async def test_the_line_of_a_target_moves_up_as_tries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "WAIT_S_MAX", 30.0)
    places = Places(trying_max=4)
    since = [await places.take("t", 1) for _ in range(2)]
    line = [asyncio.create_task(places.take("t", 1)) for _ in range(3)]
    await asyncio.sleep(0)
    line[0].cancel()
    for began in since:
        assert began is not None
        places.leave("t", 1, began)
    async with asyncio.timeout(10):
        assert None not in await asyncio.gather(*line[1:])
    for _ in range(2):
        places.leave("t", 1, asyncio.get_running_loop().time())
    assert places._targets == {}
    assert places._free == 4


async def test_large_payloads_take_more_than_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "WAIT_S_MAX", 0.05)
    places = Places(trying_max=100, bytes_max=100)
    assert await places.take("t", 90) is not None
    assert await places.take("t", 20) is not None
    assert await places.take("t", 1) is None
    assert await places.take("other", 1) is not None
