"""Mappings whose records come from runs of their own function: what a chain has led to too often is not run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from services.poller.mapping.contract import SourceTraits
from services.poller.mapping.delivery import RESULT_FAILED, BatchDelivery
from services.poller.mapping.on_failure import OnFailure
from services.poller.sources.kafka.format import KafkaFormat
from shared.dispatch.client.recursion import carrying_on
from shared.domain import lineage
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.records import Condition, Outcome
from tests.unit.events.test_decisions import ARN, target
from tests.unit.events.test_delivery import OK, mapping, record

QUEUE = "arn:aws:sqs:us-east-1:0:q"


class Traced(KafkaFormat):
    """Records of Kafka carry no lineage that AWS knows; those of queues do."""

    def traces(self, records: Sequence[Any]) -> Sequence[str]:
        return [record.trace for record in records]


def led_here(runs: int) -> str:
    trace = "Root=1-2-3"
    for _ in range(runs):
        trace = lineage.carried_on(trace, ARN, request_id="r", at_ms=0)
    return trace


class Function:
    """Run as the invoker runs it: through what carries the lineage on."""

    def __init__(self) -> None:
        self.ran: list[Invocation] = []

    async def invoke(self, name: str, qualifier: str | None, invocation: Invocation, *, wait_s: float) -> InvocationResult:
        self.ran.append(carrying_on(invocation)(target()))
        return OK


async def deliver(runs: list[int], *, redelivers: bool) -> tuple[Function, list[Any], list[Outcome], list[str]]:
    function, outcomes, results = Function(), [], []

    async def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)

    chosen = mapping(on_failure=QUEUE)
    shape = Traced(chosen, "b-1:9092")
    records = [record(number, trace=led_here(count)) for number, count in enumerate(runs)]
    traits = SourceTraits(redelivers=redelivers)
    delivery = BatchDelivery(chosen, traits, shape, function, OnFailure(chosen, shape, tell), on_result=results.append)
    return function, await delivery.deliver("t-0", records), outcomes, results


async def test_a_batch_runs_with_the_longest_chain_of_its_records() -> None:
    function, left, outcomes, _ = await deliver([2, 5, 0], redelivers=True)
    assert [lineage.runs(invocation.trace, ARN) for invocation in function.ran] == [6]
    assert (left, outcomes) == ([], [])


@pytest.mark.parametrize("redelivers", [True, False])
@pytest.mark.covers("events", "async-recursion-stop")
async def test_a_batch_of_a_loop_is_not_run(redelivers: bool) -> None:
    function, left, outcomes, results = await deliver([lineage.RUNS_MAX, 0], redelivers=redelivers)
    assert function.ran == []
    assert results == [RESULT_FAILED]
    if redelivers:
        # It goes back to the queue, whose own dead letters end it.
        assert (len(left), outcomes) == (2, [])
    else:
        [outcome] = outcomes
        assert (left, outcome.condition, outcome.targets) == ([], Condition.RECURSIVE_INVOCATION, (QUEUE,))
        assert len(json.loads(outcome.request_payload)["records"]["t-0"]) == 2
