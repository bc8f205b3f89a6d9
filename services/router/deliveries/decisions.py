"""What follows from a try that failed: pure functions, no I/O, no clock.

Source: "Message delivery retries" (SNS), "Retry policy and using dead-letter queues" (EventBridge) and its counterpart of
EventBridge Scheduler.
"""

from __future__ import annotations

import msgspec

from services.router.deliveries.contract import DeliveryError, UndeliverableError
from services.router.deliveries.dead_letters import Exhausted, letter_of
from shared.events.records import Delivery
from shared.events.tiers import DelayTiers

PUT_OFFS_MAX = 4
"""What only waits for a busy target comes back soon: the target works, it has much to do."""


class Again(msgspec.Struct, frozen=True):
    """delivery: as it is tried next, in `pause_s` seconds or later; at once for 0."""

    delivery: Delivery
    pause_s: float


class Letter(msgspec.Struct, frozen=True):
    """The delivery ends; its dead letter is to be delivered instead."""

    delivery: Delivery


class Over(msgspec.Struct, frozen=True):
    """The delivery ends and there is nobody else to have it."""


Decision = Again | Letter | Over


def after_failure(delivery: Delivery, error: DeliveryError, now_ms: int, tiers: DelayTiers) -> Decision:
    failed = msgspec.structs.replace(delivery, attempts=delivery.attempts + 1)
    left_s = _left_s(delivery, now_ms)
    retries_max = delivery.retry.retries_max
    exhausted: Exhausted | None = None
    if not isinstance(error, UndeliverableError):
        if retries_max is not None and failed.attempts > retries_max:
            exhausted = Exhausted.RETRIES
        elif left_s <= 0:
            exhausted = Exhausted.AGE
        else:
            pause_s = min(max(_pause_s(failed, tiers), error.after_s), left_s)
            return Again(msgspec.structs.replace(failed, put_offs=0, due_ms=now_ms + int(pause_s * 1_000)), pause_s)
    letter = letter_of(failed, error, exhausted, now_ms)
    return Over() if letter is None else Letter(letter)


def too_old(delivery: Delivery, now_ms: int) -> bool:
    """Whether its policy's age is over: it is not to wait any longer."""
    return _left_s(delivery, now_ms) <= 0


def _left_s(delivery: Delivery, now_ms: int) -> float:
    return delivery.retry.age_s_max - (now_ms - delivery.made_at_ms) / 1_000


def put_off(delivery: Delivery, now_ms: int, tiers: DelayTiers) -> Again:
    """Its target has too much to do: no try was made."""
    pause_s = tiers.backoff_delay_s(min(delivery.put_offs, PUT_OFFS_MAX))
    again = msgspec.structs.replace(delivery, put_offs=delivery.put_offs + 1, due_ms=now_ms + int(pause_s * 1_000))
    return Again(again, pause_s)


def _pause_s(failed: Delivery, tiers: DelayTiers) -> float:
    pauses = failed.retry.pauses_s
    if not pauses:
        return tiers.backoff_delay_s(failed.attempts - 1)
    return pauses[min(failed.attempts, len(pauses)) - 1]
