"""What becomes of an asynchronous event, by AWS's rules."""

from __future__ import annotations

import msgspec
import pytest

from services.poller import decisions
from services.router.outcomes.making import deliveries_of
from shared.domain.errors import ResourceNotFoundException
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.domain.invocations import InvocationResult
from shared.events.records import AsyncEvent, Condition, LastAttempt

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
SPEC = VersionSpec(
    "key", "id", "f", ARN, "$LATEST", "000000000000", "us-east-1", "python3.12", "h.h", "0", 1, 128, 3, 512, {}, "role", "logs"
)
EVENT = AsyncEvent("id-1", "f", None, b"{}", accepted_at_ms=1_000_000)
FAILED = InvocationResult(b'{"errorMessage":"no"}', "$LATEST", function_error="Unhandled")
WORKED = InvocationResult(b"1", "$LATEST")


def target(*, reserved: int | None = None, **config: object) -> InvokeTarget:
    return InvokeTarget(SPEC, 1, ARN, None, reserved, "Active", EventInvokeConfig(**config))  # type: ignore[arg-type]


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_failing_event_runs_once_more_than_it_has_retries(retries: int) -> None:
    event, runs = EVENT, 0
    while True:
        runs += 1
        decision = decisions.after_result(event, FAILED, EventInvokeConfig(retry_attempts_max=retries))
        if isinstance(decision, decisions.Ended):
            break
        event = decision.event
    assert runs == retries + 1
    assert (decision.condition, decision.attempts) == (Condition.RETRIES_EXHAUSTED, retries + 1)


def test_success_ends_an_event_with_the_attempts_it_took() -> None:
    ended = decisions.after_result(msgspec.structs.replace(EVENT, attempts=1), WORKED, EventInvokeConfig())
    assert ended == decisions.Ended(Condition.SUCCESS, 2, LastAttempt("$LATEST", None, b"1"))


def test_a_retry_remembers_the_last_answer_and_forgets_its_throttles() -> None:
    decision = decisions.after_result(msgspec.structs.replace(EVENT, backoffs=5), FAILED, EventInvokeConfig())
    assert isinstance(decision, decisions.Retry)
    assert decision.event.last == LastAttempt("$LATEST", "Unhandled", FAILED.payload)
    assert (decision.event.attempts, decision.event.backoffs) == (1, 0)
    assert decision.event.payload == EVENT.payload


@pytest.mark.covers("events", "async-throttle-and-system-retry")
def test_throttles_use_up_age_and_no_attempts() -> None:
    decision = decisions.after_refusal(EVENT, EventInvokeConfig(event_age_s_max=60), 1_010_000)
    assert isinstance(decision, decisions.PutBack)
    assert (decision.event.attempts, decision.event.backoffs, decision.remaining_s) == (0, 1, 50.0)


def test_an_event_that_cannot_run_before_it_is_too_old_ends() -> None:
    decision = decisions.after_refusal(EVENT, EventInvokeConfig(event_age_s_max=60), 1_060_000)
    assert decision == decisions.Ended(Condition.EVENT_AGE_EXCEEDED, 0, None)


def test_an_event_that_is_too_old_is_not_run() -> None:
    assert decisions.before_run(EVENT, target(event_age_s_max=60), 1_059_999) is None
    ended = decisions.before_run(EVENT, target(event_age_s_max=60), 1_060_000)
    assert ended is not None
    assert ended.condition is Condition.EVENT_AGE_EXCEEDED


def test_a_function_with_no_concurrency_runs_nothing_once_whoever_counts_has_said_so() -> None:
    """What is remembered of a function may be older than the event: alone it ends nothing."""
    assert decisions.before_run(EVENT, target(reserved=0), 1_000_000) is None
    ended = decisions.after_throttle(EVENT, target(reserved=0), 1_000_000)
    assert ended == decisions.Ended(Condition.ZERO_RESERVED_CONCURRENCY, 0, None)
    assert isinstance(decisions.after_throttle(EVENT, target(reserved=1), 1_000_000), decisions.PutBack)


def test_an_event_whose_function_nobody_can_look_up_waits_however_old_it_is() -> None:
    decision = decisions.after_refusal(EVENT, None, 1_000_000_000)
    assert isinstance(decision, decisions.PutBack)
    assert decision.event.backoffs == 1


def test_what_was_for_a_deleted_alias_goes_to_its_functions_dead_letter_queue() -> None:
    event = msgspec.structs.replace(EVENT, qualifier="live")
    error = ResourceNotFoundException(f"Function not found: {ARN}:live")
    assert decisions.after_deletion(event, target(), error, 5) is None
    outcome = decisions.after_deletion(event, target(dead_letter_arn="d", on_failure_arn="of $LATEST"), error, 5)
    assert outcome is not None
    assert (outcome.targets, outcome.dead_letter_arn, outcome.request_payload) == ((), "d", EVENT.payload)
    [letter] = deliveries_of(outcome)
    assert letter.attributes["ErrorMessage"].text == error.message


@pytest.mark.covers("events", "dest-success-meaning")
def test_nobody_is_told_who_did_not_ask() -> None:
    ended = decisions.Ended(Condition.SUCCESS, 1, None)
    assert decisions.outcome_of(EVENT, ended, target(on_failure_arn="arn:q", dead_letter_arn="arn:d"), 5) is None
    failed = decisions.Ended(Condition.RETRIES_EXHAUSTED, 1, None)
    assert decisions.outcome_of(EVENT, failed, target(on_success_arn="arn:q"), 5) is None


@pytest.mark.covers("events", "dest-success-meaning")
def test_failures_go_to_the_destination_and_to_the_dead_letter_queue() -> None:
    failed = decisions.Ended(Condition.RETRIES_EXHAUSTED, 3, None)
    outcome = decisions.outcome_of(EVENT, failed, target(on_failure_arn="arn:q", dead_letter_arn="arn:d"), 5)
    assert outcome is not None
    assert (outcome.targets, outcome.dead_letter_arn, outcome.attempts) == (("arn:q",), "arn:d", 3)


@pytest.mark.parametrize(("qualifier", "shown"), [(None, "$LATEST"), ("live", "live"), ("7", "7")])
def test_the_record_names_the_qualifier(qualifier: str | None, shown: str) -> None:
    event = msgspec.structs.replace(EVENT, qualifier=qualifier)
    outcome = decisions.outcome_of(event, decisions.Ended(Condition.SUCCESS, 1, None), target(on_success_arn="arn:q"), 5)
    assert outcome is not None
    assert outcome.function_arn == f"{ARN}:{shown}"
