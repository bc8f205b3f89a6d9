"""The dead letter of a delivery that its target does not take, by the service on whose behalf it was made. Pure.

SNS adds nothing to what the endpoint would have got. EventBridge and its Scheduler say in attributes why it is there. Lambda's
destinations have no dead letters of their own.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from services.router.deliveries.contract import DeliveryError
from shared.events.records import Behalf, Delivery, MessageAttribute, RetryPolicy, Role

ERROR_MESSAGE_CHARACTERS_MAX = 1_024
SOURCE_NAMES = {Behalf.EVENTS: "RULE_ARN", Behalf.SCHEDULER: "SCHEDULE_ARN"}


class Exhausted(enum.StrEnum):
    """Which bound of the retry policy was reached."""

    RETRIES = "MaximumRetryAttempts"
    AGE = "MaximumEventAgeInSeconds"


def letter_of(failed: Delivery, error: DeliveryError, exhausted: Exhausted | None, now_ms: int) -> Delivery | None:
    """failed: with the try that failed counted in. None where nobody asked for a dead letter."""
    letter = failed.dead_letter
    if letter is None:
        return None
    return msgspec.structs.replace(
        failed,
        delivery_id=f"{failed.delivery_id}:letter",
        target=letter.arn,
        payload=failed.payload if letter.payload is None else letter.payload,
        role=Role.DEAD_LETTER,
        attributes={**letter.attributes, **_why(failed, error, exhausted)},
        parameters=letter.parameters,
        retry=RetryPolicy(),
        dead_letter=None,
        made_at_ms=now_ms,
        attempts=0,
        put_offs=0,
        due_ms=0,
    )


def _why(failed: Delivery, error: DeliveryError, exhausted: Exhausted | None) -> Mapping[str, MessageAttribute]:
    source = SOURCE_NAMES.get(failed.behalf)
    if source is None:
        return {}
    told = {
        source: failed.source_arn,
        "TARGET_ARN": failed.target,
        "ERROR_CODE": error.code,
        "ERROR_MESSAGE": str(error)[:ERROR_MESSAGE_CHARACTERS_MAX] or error.code,
    }
    if exhausted is not None:
        told["EXHAUSTED_RETRY_CONDITION"] = exhausted.value
    retries = MessageAttribute("Number", str(failed.attempts - 1))
    return {**{name: MessageAttribute("String", value) for name, value in told.items()}, "RETRY_ATTEMPTS": retries}
