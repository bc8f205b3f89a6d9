"""What becomes of an asynchronous event: AWS's rules as pure functions. No I/O, no clock.

Source: "How Lambda handles errors and retries with asynchronous invocation" in the Lambda developer guide.
"""

from __future__ import annotations

import math

import msgspec

from shared.domain import lineage
from shared.domain.arns import LATEST
from shared.domain.errors import CannotRunError, ResourceNotFoundException
from shared.domain.functions import EventInvokeConfig, InvokeTarget
from shared.domain.invocations import InvocationResult
from shared.events.records import AsyncEvent, Condition, LastAttempt, Outcome

RESPONSE_LOST = b'{"errorMessage":"The function ran, and its response was lost on the way","errorType":"Platform.ResponseLost"}'


class Retry(msgspec.Struct, frozen=True):
    """The function failed and may be tried again after the retry delay that belongs to `event.attempts`."""

    event: AsyncEvent


class PutBack(msgspec.Struct, frozen=True):
    """The event could not run now (throttled, no capacity, platform failure): no attempt was used.

    remaining_s: until the event is too old.
    """

    event: AsyncEvent
    remaining_s: float


class Ended(msgspec.Struct, frozen=True):
    """Nothing more is run for the event. attempts: how often the function ran for it."""

    condition: Condition
    attempts: int
    last: LastAttempt | None


Decision = Retry | PutBack | Ended


def before_run(event: AsyncEvent, target: InvokeTarget, now_ms: int) -> Ended | None:
    """Why the event is not to be run at all, None when it is."""
    if lineage.is_endless(event.trace, target):
        return Ended(Condition.RECURSIVE_INVOCATION, event.attempts, event.last)
    if age_left_s(event, target.event_invoke, now_ms) <= 0:
        return Ended(Condition.EVENT_AGE_EXCEEDED, event.attempts, event.last)
    return None


def after_result(event: AsyncEvent, result: InvocationResult, config: EventInvokeConfig) -> Retry | Ended:
    """The function answered: well, or with an error that uses up one attempt."""
    attempts = event.attempts + 1
    last = LastAttempt(result.executed_version, result.function_error, result.payload)
    if result.function_error is None:
        return Ended(Condition.SUCCESS, attempts, last)
    if attempts > config.retry_attempts_max:
        return Ended(Condition.RETRIES_EXHAUSTED, attempts, last)
    return Retry(msgspec.structs.replace(event, attempts=attempts, backoffs=0, last=last))


def response_lost(version: str) -> InvocationResult:
    """What counts as the result of a run whose response was lost: the attempt was made, and it failed."""
    return InvocationResult(RESPONSE_LOST, version, "Unhandled")


def after_unrunnable(event: AsyncEvent, target: InvokeTarget, error: CannotRunError) -> Ended:
    """No worker will ever run it: the event ends with what there is to say instead of an answer."""
    document = msgspec.json.encode({"errorMessage": error.message, "errorType": error.code})
    return Ended(Condition.RETRIES_EXHAUSTED, event.attempts, LastAttempt(target.spec.version, "Unhandled", document))


def after_throttle(event: AsyncEvent, target: InvokeTarget, now_ms: int) -> PutBack | Ended:
    """A limit of concurrency is reached. Whoever counted knows the function as it is now: only then is it certain that
    nothing of it may run."""
    if target.reserved_concurrency == 0:
        return Ended(Condition.ZERO_RESERVED_CONCURRENCY, event.attempts, event.last)
    return after_refusal(event, target.event_invoke, now_ms)


def after_refusal(event: AsyncEvent, config: EventInvokeConfig | None, now_ms: int) -> PutBack | Ended:
    """The event could not be run. config: None when the function could not even be looked up: nobody knows then how old it may
    become, nor who is to be told of its end, so that it waits until somebody does."""
    again = msgspec.structs.replace(event, backoffs=event.backoffs + 1)
    if config is None:
        return PutBack(again, math.inf)
    remaining_s = age_left_s(event, config, now_ms)
    if remaining_s <= 0:
        return Ended(Condition.EVENT_AGE_EXCEEDED, event.attempts, event.last)
    return PutBack(again, remaining_s)


def after_deletion(event: AsyncEvent, function: InvokeTarget, error: ResourceNotFoundException, now_ms: int) -> Outcome | None:
    """The version or alias is gone and the function is not: its dead-letter queue gets the event, and why. None where it has
    none. function: unqualified."""
    dead_letter_arn = function.event_invoke.dead_letter_arn
    if not dead_letter_arn:
        return None
    document = msgspec.json.encode({"errorMessage": error.message, "errorType": error.code})
    return Outcome(
        event_id=event.event_id,
        function_arn=f"{function.spec.function_arn}:{event.qualifier or LATEST}",
        condition=Condition.RETRIES_EXHAUSTED,
        attempts=event.attempts,
        request_payload=event.payload,
        finished_at_ms=now_ms,
        last=LastAttempt(event.qualifier or LATEST, "Unhandled", document),
        dead_letter_arn=dead_letter_arn,
        trace=trace_of(event, function),
    )


def age_left_s(event: AsyncEvent, config: EventInvokeConfig, now_ms: int) -> float:
    return config.event_age_s_max - (now_ms - event.accepted_at_ms) / 1_000


def trace_of(event: AsyncEvent, target: InvokeTarget) -> str:
    """The trace header that the function and whoever is told of its outcome get."""
    return lineage.carried_on(event.trace, target.spec.function_arn, request_id=event.event_id, at_ms=event.accepted_at_ms)


def outcome_of(event: AsyncEvent, ended: Ended, target: InvokeTarget, now_ms: int) -> Outcome | None:
    """What the router is to deliver, None when nobody asked for it."""
    config = target.event_invoke
    if ended.condition is Condition.SUCCESS:
        targets = (config.on_success_arn,)
        dead_letter_arn = None
    else:
        targets = (config.on_failure_arn,)
        dead_letter_arn = config.dead_letter_arn
    named = tuple(arn for arn in targets if arn)
    if ended.condition is Condition.RECURSIVE_INVOCATION:
        # Telling a function of the chain about its end would only go round once more, without ever running anything.
        named = tuple(arn for arn in named if not _in_loop(event, arn))
    if not named and not dead_letter_arn:
        return None
    return Outcome(
        event_id=event.event_id,
        # The record names the version or alias even when the function was invoked without one.
        function_arn=f"{target.spec.function_arn}:{event.qualifier or LATEST}",
        condition=ended.condition,
        attempts=ended.attempts,
        request_payload=event.payload,
        finished_at_ms=now_ms,
        last=ended.last,
        targets=named,
        dead_letter_arn=dead_letter_arn or None,
        trace=trace_of(event, target),
    )


def _in_loop(event: AsyncEvent, destination_arn: str) -> bool:
    function_arn = ":".join(destination_arn.split(":")[:7])
    return lineage.runs(event.trace, function_arn) >= lineage.RUNS_MAX
