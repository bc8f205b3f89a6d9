"""The lineage of a trace header, and what ends by it."""

from __future__ import annotations

import re

import msgspec
import pytest

from services.poller import decisions
from shared.domain import lineage
from shared.events.records import Condition, Outcome
from tests.unit.events.test_decisions import ARN, EVENT, target

OTHER = ARN.replace(":f", ":g")
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
HEADER = re.compile(
    r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01];Lineage=1:[0-9a-f]{8}:\d+(\|[0-9a-f]{8}:\d+)*"
)


def after(chain: list[str], trace: str | None = None) -> str | None:
    for arn in chain:
        trace = lineage.carried_on(trace, arn, request_id="id", at_ms=1_700_000_000_000)
    return trace


def test_a_request_without_a_header_gets_one_that_is_the_same_for_every_attempt() -> None:
    first = after([ARN])
    assert first is not None
    assert HEADER.fullmatch(first)
    assert first.endswith(":0")
    assert after([ARN]) == first


def test_every_run_of_a_function_in_one_chain_is_counted_and_others_are_not() -> None:
    trace = after([ARN, OTHER, ARN, OTHER, ARN])
    assert trace is not None
    assert HEADER.fullmatch(trace)
    assert [lineage.runs(trace, arn) for arn in (ARN, OTHER, ARN + "2")] == [3, 2, 0]


def test_what_a_caller_sent_besides_the_lineage_stays() -> None:
    trace = after([ARN], "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage=1:0badcafe:7;Self=x")
    assert trace is not None
    assert trace.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Self=x;Lineage=1:0badcafe:7|")


@pytest.mark.parametrize(
    "trace", ["", ";", "Lineage=", "Lineage=1:", "Lineage=x|y:1", "Lineage=1:0badcafe:9999", "\x00;=" * 9000]
)
def test_a_header_that_is_none_stops_nothing(trace: str) -> None:
    assert lineage.runs(trace, ARN) == 0
    assert lineage.runs(after([ARN], trace), ARN) == 1


def test_a_lineage_stays_small_however_long_the_chain_is() -> None:
    trace = after([f"{ARN}-{number}" for number in range(500)] + [ARN] * 500)
    assert trace is not None
    assert len(trace) < lineage.HEADER_CHARACTERS_MAX
    assert lineage.runs(trace, ARN) == lineage.TIMES_MAX + 1
    assert lineage.runs(trace, f"{ARN}-499") == 1


def test_the_seventeenth_run_of_a_function_in_one_chain_is_refused_unless_it_allows_loops() -> None:
    for times in (lineage.RUNS_MAX - 1, lineage.RUNS_MAX):
        event = msgspec.structs.replace(EVENT, trace=after([ARN] * times))
        ended = decisions.before_run(event, target(), 1_000_000)
        if times < lineage.RUNS_MAX:
            assert ended is None
        else:
            assert ended == decisions.Ended(Condition.RECURSIVE_INVOCATION, 0, None)
        assert decisions.before_run(event, target(recursion_allowed=True), 1_000_000) is None


def test_a_loop_that_is_stopped_is_told_to_queues_but_not_to_the_functions_in_it() -> None:
    event = msgspec.structs.replace(EVENT, trace=after([ARN, OTHER] * lineage.RUNS_MAX))
    ended = decisions.Ended(Condition.RECURSIVE_INVOCATION, 0, None)

    def told(destination: str, dead_letter_arn: str | None = None) -> Outcome | None:
        configured = target(on_failure_arn=destination, dead_letter_arn=dead_letter_arn)
        return decisions.outcome_of(event, ended, configured, 1_000_000)

    assert told(f"{OTHER}:live") is None
    assert told(ARN) is None
    outcome = told(QUEUE)
    assert outcome is not None
    assert outcome.targets == (QUEUE,)
    dead = told(ARN, dead_letter_arn=QUEUE)
    assert dead is not None
    assert (dead.targets, dead.dead_letter_arn) == ((), QUEUE)


@pytest.mark.covers("events", "dest-trace-header")
def test_whoever_is_told_of_an_outcome_gets_the_header_that_the_run_had() -> None:
    outcome = decisions.outcome_of(EVENT, decisions.Ended(Condition.SUCCESS, 1, None), target(on_success_arn=OTHER), 5)
    assert outcome is not None
    assert outcome.trace == decisions.trace_of(EVENT, target())
    assert lineage.runs(outcome.trace, ARN) == 1
