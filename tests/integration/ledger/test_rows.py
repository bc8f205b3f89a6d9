"""Every event that was accepted has one row that says how it stands, whoever dies in between."""

from __future__ import annotations

import asyncio

from shared.domain.errors import ResourceNotFoundException, TooManyRequestsException
from shared.domain.invocations import Invocation, InvocationResult
from shared.ledger.records import Status, StepKind
from tests.integration.events.parts import FAILED, OK, Functions, event, until
from tests.integration.ledger.world import World


async def test_an_event_that_ran_at_once_and_went_well_has_one_row_that_says_all_of_it(world: World) -> None:
    accepted = event()
    async with world.writing(), world.polling(Functions()):
        await world.queue.enqueue(accepted)
        row = await world.row_with(accepted, Status.SUCCEEDED)
    assert row["attempts"] == 1
    assert row["version"] == "$LATEST"
    assert row["accepted_ms"] == accepted.accepted_at_ms
    assert 0 <= row["started_after_ms"] <= row["changed_after_ms"]
    assert (row["reason"], row["error"], row["next_ms"]) == (None, None, None)
    assert await world.steps(accepted) == []


async def test_attempts_that_failed_are_steps_and_the_wait_between_them_shows_when_it_ends(world: World) -> None:
    accepted = event()

    async def fails(_: Invocation) -> InvocationResult:
        return FAILED

    async with world.writing(), world.polling(Functions(fails, retry_attempts_max=1)):
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
    accepted = event()
    refused = asyncio.Event()

    async def busy(_: Invocation) -> InvocationResult:
        if not refused.is_set():
            raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded", "Rate Exceeded.")
        return OK

    async with world.writing(), world.polling(Functions(busy)):
        await world.queue.enqueue(accepted)
        row = await world.row_with(accepted, Status.WAITING)
        assert row["reason"] == "throttled"
        assert row["attempts"] == 0
        refused.set()
        await world.row_with(accepted, Status.SUCCEEDED)


async def test_events_that_are_not_to_be_run_are_discarded_with_the_reason(world: World) -> None:
    old, gone, none = event(age_s=100), event("gone"), event()
    async with world.writing():
        functions = Functions(event_age_s_max=60)
        functions.gone.add("gone")
        async with world.polling(functions):
            await world.queue.enqueue(old)
            await world.queue.enqueue(gone)
            rows = [await world.row_with(each, Status.DISCARDED) for each in (old, gone)]
        async with world.polling(Functions(reserved=0)):
            await world.queue.enqueue(none)
            rows.append(await world.row_with(none, Status.DISCARDED))
    assert [row["reason"] for row in rows] == ["EventAgeExceeded", "FunctionDeleted", "ZeroReservedConcurrency"]
    assert ResourceNotFoundException.code


async def test_a_long_run_is_seen_while_it_runs(world: World) -> None:
    accepted, go = event(), asyncio.Event()

    async def waits(_: Invocation) -> InvocationResult:
        await go.wait()
        return OK

    async with world.writing(), world.polling(Functions(waits)):
        await world.queue.enqueue(accepted)
        row = await world.row_with(accepted, Status.RUNNING)
        assert row["started_after_ms"] >= 0
        go.set()
        await world.row_with(accepted, Status.SUCCEEDED)


async def test_events_that_no_poller_has_taken_up_are_queued(world: World) -> None:
    accepted = [event() for _ in range(30)]
    async with world.writing():
        for each in accepted:
            await world.queue.enqueue(each)
        rows = [await world.row_with(each, Status.QUEUED) for each in accepted]
        assert {row["changed_after_ms"] for row in rows} == {0}
        async with world.polling(Functions()):
            for each in accepted:
                await world.row_with(each, Status.SUCCEEDED)


async def test_what_a_poller_did_not_get_to_tell_is_told_by_the_next_one(world: World) -> None:
    """A poller that dies in the middle of a run: nothing stays running for ever."""
    accepted, never = event(), asyncio.Event()

    async def hangs(_: Invocation) -> InvocationResult:
        await never.wait()
        return OK

    async with world.writing():
        async with world.polling(Functions(hangs), kill=True):
            await world.queue.enqueue(accepted)
            await world.row_with(accepted, Status.RUNNING)
        async with world.polling(Functions()):
            await world.row_with(accepted, Status.SUCCEEDED)


async def test_writing_the_same_again_changes_nothing(world: World) -> None:
    """A router that dies before it has committed reads its records again; here all of them."""
    from shared.ledger.joining import Joined
    from shared.ledger.records import decode_batch
    from shared.ledger.store import LedgerStore
    from tests.integration.events.parts import read_topic

    accepted = [event() for _ in range(5)]
    async with world.writing(), world.polling(Functions()):
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


async def test_while_postgres_does_not_take_rows_they_stay_in_kafka(world: World) -> None:
    accepted = event()
    async with world.writing() as consumer, world.polling(Functions()):
        await until(lambda: consumer.problem() is None, "the consumer is ready")
        await world.rows.execute("ALTER TABLE ledger_functions RENAME TO ledger_functions_away")
        try:
            await world.queue.enqueue(accepted)
            await until(lambda: "Postgres" in (consumer.problem() or ""), "the consumer says that Postgres is away")
        finally:
            await world.rows.execute("ALTER TABLE ledger_functions_away RENAME TO ledger_functions")
        await world.row_with(accepted, Status.SUCCEEDED)
        await until(lambda: consumer.problem() is None, "the consumer is well again")
