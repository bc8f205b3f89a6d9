"""Every event that was accepted has one row that says how it stands, whoever dies in between."""

from __future__ import annotations

import asyncio
import uuid

from shared.domain.errors import TooManyRequestsException
from shared.domain.functions import EventInvokeConfig
from shared.domain.invocations import Invocation, InvocationResult
from shared.ledger.cancelling import encode_cancelled
from shared.ledger.joining import Joined
from shared.ledger.records import Status, StepKind, decode_batch
from shared.ledger.store import LedgerStore
from tests.integration.events.parts import FAILED, OK, Functions, event, read_topic, until
from tests.integration.ledger.world import World


def named() -> str:
    return f"f-{uuid.uuid4().hex[:8]}"


async def fails(_: Invocation) -> InvocationResult:
    return FAILED


async def test_an_event_that_ran_at_once_and_went_well_has_one_row_that_says_all_of_it(world: World) -> None:
    accepted = event(named())
    await world.queue.enqueue(accepted)
    row = await world.row_with(accepted, Status.SUCCEEDED)
    assert row["attempts"] == 1
    assert row["version"] == "$LATEST"
    assert row["accepted_ms"] == accepted.accepted_at_ms
    assert 0 <= row["started_after_ms"] <= row["changed_after_ms"]
    assert (row["reason"], row["error"], row["next_ms"]) == (None, None, None)
    assert await world.steps(accepted) == []


async def test_attempts_that_failed_are_steps_and_the_wait_between_them_shows_when_it_ends(world: World) -> None:
    accepted = event(name := named())
    world.functions.does[name] = fails
    world.functions.configs[name] = EventInvokeConfig(retry_attempts_max=1)
    await world.queue.enqueue(accepted)
    waiting = await world.row_with(accepted, Status.RETRYING)
    row = await world.row_with(accepted, Status.FAILED)
    assert waiting["attempts"] == 1
    assert waiting["next_ms"] > accepted.accepted_at_ms
    assert row["attempts"] == 2
    assert row["reason"] == "RetriesExhausted"
    assert row["error"] == "Exception: on purpose"
    steps = await world.steps(accepted)
    assert [(step["kind"], step["detail"]) for step in steps] == [(StepKind.ATTEMPT_FAILED, "Exception: on purpose")] * 2


async def test_throttled_events_wait_until_they_run(world: World) -> None:
    accepted, free = event(name := named()), asyncio.Event()

    async def busy(_: Invocation) -> InvocationResult:
        if not free.is_set():
            raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded", "Rate Exceeded.")
        return OK

    world.functions.does[name] = busy
    await world.queue.enqueue(accepted)
    row = await world.row_with(accepted, Status.WAITING)
    assert row["reason"] == "throttled"
    assert row["attempts"] == 0
    free.set()
    await world.row_with(accepted, Status.SUCCEEDED)


async def test_events_that_are_not_to_be_run_are_discarded_with_the_reason(world: World) -> None:
    old, gone, none = event(named(), age_s=100), event(named()), event(named())
    world.functions.configs[old.function_name] = EventInvokeConfig(event_age_s_max=60)
    world.functions.gone.add(gone.function_name)
    world.functions.never_run.add(none.function_name)
    for each in (old, gone, none):
        await world.queue.enqueue(each)
    rows = [await world.row_with(each, Status.DISCARDED) for each in (old, gone, none)]
    assert [row["reason"] for row in rows] == ["EventAgeExceeded", "FunctionDeleted", "ZeroReservedConcurrency"]


async def test_a_long_run_is_seen_while_it_runs(world: World) -> None:
    accepted, go = event(name := named()), asyncio.Event()

    async def waits(_: Invocation) -> InvocationResult:
        await go.wait()
        return OK

    world.functions.does[name] = waits
    await world.queue.enqueue(accepted)
    row = await world.row_with(accepted, Status.RUNNING)
    assert row["started_after_ms"] >= 0
    go.set()
    await world.row_with(accepted, Status.SUCCEEDED)


async def test_a_cancelled_event_is_not_run_when_its_turn_comes(world: World) -> None:
    """It comes from a delay tier, where it waits as long as its function is throttled."""
    accepted = event(name := named())

    async def busy(_: Invocation) -> InvocationResult:
        raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded", "Rate Exceeded.")

    world.functions.does[name] = busy
    await world.queue.enqueue(accepted)
    await world.row_with(accepted, Status.WAITING)
    await world.producer.send(world.names.cancellations, encode_cancelled([accepted.event_id]))
    row = await world.row_with(accepted, Status.CANCELLED)
    assert (row["attempts"], row["reason"]) == (0, "Cancelled")


async def test_a_cancelled_event_needs_no_turn_of_its_function_to_end(apart: World) -> None:
    name, never = named(), asyncio.Event()

    async def hangs(_: Invocation) -> InvocationResult:
        await never.wait()
        return OK

    functions = Functions(hangs)
    async with apart.polling(functions, kill=True) as poller:
        for _ in range(9):
            await apart.queue.enqueue(event(name))
        await until(lambda: len(functions.calls) == 8, "the function has all that it may at once")
        cancelled = event(name)
        await apart.producer.send(apart.names.cancellations, encode_cancelled([cancelled.event_id]))
        await until(lambda: cancelled.event_id in poller.cancelled, "the poller knows of it")
        await apart.queue.enqueue(cancelled)
        row = await apart.row_with(cancelled, Status.CANCELLED)
    assert (row["attempts"], row["started_after_ms"]) == (0, -1)


async def test_writing_the_same_again_changes_nothing(world: World) -> None:
    """A router that dies before it has committed reads its records again."""
    accepted = [event(named()) for _ in range(5)]
    for each in accepted:
        await world.queue.enqueue(each)
    before = [await world.row_with(each, Status.SUCCEEDED) for each in accepted]
    records = await read_topic(world.settings.kafka, world.names.ledger, 1)
    store = LedgerStore(world.settings)
    for record in records * 2:
        joined = Joined()
        joined.add(decode_batch(record.value))
        await store.write(joined)
    await store.close()
    assert [await world.row(each) for each in accepted] == before


async def test_while_postgres_does_not_take_rows_they_stay_in_kafka(apart: World) -> None:
    accepted = event(named())
    async with apart.polling(Functions()):
        await until(lambda: apart.consumer.problem() is None, "the consumer is ready")
        await apart.rows.execute("ALTER TABLE ledger_functions RENAME TO ledger_functions_away")
        try:
            await apart.queue.enqueue(accepted)
            await until(lambda: "Postgres" in (apart.consumer.problem() or ""), "the consumer says that Postgres is away")
        finally:
            await apart.rows.execute("ALTER TABLE ledger_functions_away RENAME TO ledger_functions")
        await apart.row_with(accepted, Status.SUCCEEDED)
        await until(lambda: apart.consumer.problem() is None, "the consumer is well again")


async def test_events_that_no_poller_has_taken_up_are_queued_and_then_what_becomes_of_them(apart: World) -> None:
    accepted = [event(named()) for _ in range(30)]
    for each in accepted:
        await apart.queue.enqueue(each)
    rows = [await apart.row_with(each, Status.QUEUED) for each in accepted]
    assert {row["changed_after_ms"] for row in rows} == {0}
    async with apart.polling(Functions()):
        for each in accepted:
            await apart.row_with(each, Status.SUCCEEDED)


async def test_what_a_poller_did_not_get_to_tell_is_told_by_the_next_one(apart: World) -> None:
    """A poller that dies in the middle of a run: nothing stays running for ever."""
    accepted, never = event(named()), asyncio.Event()

    async def hangs(_: Invocation) -> InvocationResult:
        await never.wait()
        return OK

    async with apart.polling(Functions(hangs), kill=True):
        await apart.queue.enqueue(accepted)
        await apart.row_with(accepted, Status.RUNNING)
    async with apart.polling(Functions()):
        await apart.row_with(accepted, Status.SUCCEEDED)
