"""A function that is its own destination is stopped, on real engines: poller, outcomes, router, queue."""

from __future__ import annotations

import json

import pytest

from services.poller.async_queue import AsyncPoller
from shared.domain import lineage
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.records import encode
from tests.integration.events.parts import ARN, OK, QUEUE, Functions, event, running, until
from tests.integration.events.test_router import Router, queue_name, router

__all__ = ["router"]
MORE_RUNS = 8


@pytest.mark.covers("events", "async-recursion-stop", "dest-loop-warning")
async def test_a_function_that_is_its_own_destination_runs_sixteen_times_and_then_its_queue_is_told(router: Router) -> None:
    dead = queue_name()
    functions = Functions(on_success_arn=f"{ARN}f", on_failure_arn=f"{ARN}f", dead_letter_arn=QUEUE + dead)
    poller = AsyncPoller(router.settings, functions, router.producer)
    async with router.running(), running(poller.run):
        await router.producer.send(router.names.asynchronous, encode(event("f")))
        [letter] = await until(lambda: router.messages(dead))
        assert len(functions.calls) == lineage.RUNS_MAX
        attributes = json.loads(letter[b"attributes"])
        assert attributes["ErrorCode"]["StringValue"] == "400"
        assert "recursive loop" in attributes["ErrorMessage"]["StringValue"]
        assert [lineage.runs(call.trace, f"{ARN}f") for call in functions.calls] == list(range(1, lineage.RUNS_MAX + 1))
    assert len({(call.trace or "").partition(";")[0] for call in functions.calls}) == 1


async def test_a_function_that_allows_loops_goes_on(router: Router) -> None:
    functions = Functions(on_success_arn=f"{ARN}f", recursion_allowed=True)

    async def stops_at_last(_: Invocation) -> InvocationResult:
        if len(functions.calls) >= lineage.RUNS_MAX + MORE_RUNS:
            functions.gone.add("f")
        return OK

    functions.behave = stops_at_last
    poller = AsyncPoller(router.settings, functions, router.producer)
    async with router.running(), running(poller.run):
        await router.producer.send(router.names.asynchronous, encode(event("f")))
        await until(lambda: len(functions.calls) == lineage.RUNS_MAX + MORE_RUNS)
