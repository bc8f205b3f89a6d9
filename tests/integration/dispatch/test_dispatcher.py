"""Invocations through the whole path: leases in a real Redis, frames on real sockets, a worker that only pretends to run."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from shared.dispatch.cell.announce import Announcer
from shared.dispatch.cell.cell import ACCOUNT_REASON, RESERVED_REASON
from shared.dispatch.cell.directory import KNOWN_S, WorkerDirectory
from shared.dispatch.cell.worker_record import Capabilities
from shared.dispatch.client.dispatcher import cell_number
from shared.dispatch.wire.messages import Refusal, RefusalReason, WireError
from shared.domain.errors import (
    DispatchUnavailableError,
    InvalidRuntimeException,
    InvalidZipFileException,
    InvocationLostError,
    NoCapacityError,
    NotStartedError,
    StaleTargetError,
    TooManyRequestsException,
)
from shared.domain.invocations import Invocation, InvocationResult
from tests.integration.dispatch.conftest import Cell, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S


def event(do: str = "echo", **more: object) -> Invocation:
    return Invocation(uuid.uuid4().hex, json.dumps({"do": do, **more}).encode())


async def test_an_invocation_runs_and_its_environment_is_used_again(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    first = await dispatcher.invoke(target(), event(n=1), wait_s=PATIENCE_S)
    second = await dispatcher.invoke(target(), event(n=2), wait_s=PATIENCE_S)
    assert json.loads(first.payload)["n"] == 1
    assert first.init_ms is not None
    assert second.init_ms is None
    assert first.executed_version == "1"
    assert len({environment for _, environment, _ in worker.ran}) == 1
    await until(cell.no_leases)
    await cell.check()


async def test_a_busy_function_is_leased_once_and_used_many_times(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    for _ in range(50):
        await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert dispatcher.counts.sticky >= 45
    await until(cell.no_leases)


class Ends:
    """Collects what `start` gives its caller."""

    def __init__(self) -> None:
        self.ended: list[tuple[InvocationResult | None, Exception | None]] = []

    def __call__(self, result: InvocationResult | None, error: Exception | None) -> None:
        self.ended.append((result, error))


async def test_a_kept_lease_is_used_at_once_and_without_one_a_task_searches(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    ends = Ends()
    dispatcher.start(target(), event(n=1), ends, 5.0)
    assert len(dispatcher.searches) == 1
    await until(lambda: len(ends.ended) == 1)
    dispatcher.start(target(), event(n=2), ends, 5.0)
    assert not dispatcher.searches
    # The lease is in use; another that asks meanwhile finds none.
    dispatcher.start(target(), event(n=3), ends, 5.0)
    assert len(dispatcher.searches) == 1
    await until(lambda: len(ends.ended) == 3)
    assert not dispatcher.searches
    answered = sorted(json.loads(result.payload)["n"] for result, error in ends.ended if result is not None and error is None)
    assert answered == [1, 2, 3]
    assert len(worker.ran) == 3
    await until(cell.no_leases)


async def test_nobody_hears_of_a_refusal_and_everybody_of_a_lost_worker(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    ends = Ends()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    worker.refuse_next = [Refusal(RefusalReason.BUSY, gone=False), Refusal(RefusalReason.STALE_FENCE, gone=False)]
    dispatcher.start(target(), event(), ends, 5.0)
    assert not dispatcher.searches
    await until(lambda: ends.ended)
    assert ends.ended[0][1] is None
    assert len(worker.refused) == 2
    dispatcher.start(target(), event("hang"), ends, 5.0)
    await until(lambda: worker.running == 1)
    await worker.kill()
    await until(lambda: len(ends.ended) == 2)
    assert type(ends.ended[1][1]) is InvocationLostError
    dispatcher.start(target(), event(), ends, 0.2)
    await until(lambda: len(ends.ended) == 3)
    assert isinstance(ends.ended[2][1], DispatchUnavailableError | NoCapacityError)


async def test_what_was_cancelled_is_heard_of_no_more_wherever_it_was(cell: Cell) -> None:
    worker = await cell.worker(slots=1)
    dispatcher = await cell.dispatcher()
    ends = Ends()
    cancel = dispatcher.start(target(), event("hang", cancellable=True), ends, 5.0)
    await until(lambda: worker.running == 1)
    waits = dispatcher.start(target("other"), event(), ends, 5.0)
    unstarted = dispatcher.start(target("other"), event(), ends, 5.0)
    unstarted()
    await asyncio.sleep(0)
    waits()
    cancel()
    await until(lambda: worker.cancelled)
    assert not dispatcher.searches
    await until(cell.no_leases)
    assert not ends.ended
    assert len(worker.ran) == 1
    await cell.check()


async def test_a_refusal_of_what_was_cancelled_sets_off_no_search(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    ends = Ends()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    worker.refuse_next = [Refusal(RefusalReason.BUSY, gone=False)]
    dispatcher.start(target(), event(), ends, 5.0)()
    await until(lambda: worker.refused)
    await until(cell.no_leases)
    assert not ends.ended
    assert len(worker.ran) == 1


async def test_a_lease_that_comes_as_its_search_is_cancelled_is_given_back(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    leases = dispatcher.cells[0]._leases
    asked: list[asyncio.Future[object]] = []
    acquire = leases.acquire

    def watched(*arguments: object) -> asyncio.Future[object]:
        asked.append(future := acquire(*arguments))  # type: ignore[arg-type]
        # Before whoever waits for it is told: its search ends in the same turn of the loop.
        future.add_done_callback(lambda _: cancel())
        return future

    leases.acquire = watched  # type: ignore[method-assign, assignment]
    cancel = dispatcher.start(target(), event(), Ends(), 5.0)
    await until(lambda: asked and asked[0].done())
    await until(cell.no_leases)
    assert dispatcher.unsettled == 0


async def test_an_invocation_that_cannot_be_sent_ends_alone(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    unsendable = Invocation("r", b"{}", trace="x" * 20_000)
    for _ in range(2):
        with pytest.raises(WireError):
            await dispatcher.invoke(target(), unsendable, wait_s=PATIENCE_S)
        await until(cell.no_leases)
        await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert len(worker.ran) == 2


async def test_closing_tells_whoever_still_searches(cell: Cell) -> None:
    dispatcher = await cell.dispatcher()
    ends = Ends()
    dispatcher.start(target(), event(), ends, 30.0)
    await until(lambda: dispatcher.counts.no_capacity)
    await dispatcher.close()
    assert [type(error) for _, error in ends.ended] == [DispatchUnavailableError]


def test_a_function_belongs_to_one_cell_and_few_move_when_there_is_one_more() -> None:
    functions = [f"function-{number}" for number in range(1_000)]
    before = [cell_number(function, ("a", "b", "c")) for function in functions]
    after = [cell_number(function, ("a", "b", "c", "d")) for function in functions]
    assert {cell_number(function, ("a",)) for function in functions} == {0}
    assert all(250 < before.count(number) < 420 for number in range(3))
    moved = [number for number, earlier in zip(after, before, strict=True) if number != earlier]
    assert set(moved) == {3}
    assert 150 < len(moved) < 350


async def test_concurrent_invocations_get_an_environment_each(cell: Cell) -> None:
    worker = await cell.worker(slots=20)
    dispatcher = await cell.dispatcher()
    calls = [asyncio.create_task(dispatcher.invoke(target(), event("wait"), wait_s=PATIENCE_S)) for _ in range(20)]
    await until(lambda: worker.running == 20)
    await cell.check()
    worker.let_go.set()
    await asyncio.gather(*calls)
    await until(cell.no_leases)
    await cell.check()


async def test_reserved_concurrency_throttles_with_its_reason(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    limited = target(reserved=2)
    calls = [asyncio.create_task(dispatcher.invoke(limited, event("wait"), wait_s=PATIENCE_S)) for _ in range(2)]
    await until(lambda: worker.running == 2)
    with pytest.raises(TooManyRequestsException) as raised:
        await dispatcher.invoke(limited, event(), wait_s=PATIENCE_S)
    assert raised.value.reason == RESERVED_REASON
    worker.let_go.set()
    await asyncio.gather(*calls)
    await dispatcher.invoke(limited, event(), wait_s=PATIENCE_S)


async def test_a_reserved_concurrency_of_zero_always_throttles(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    with pytest.raises(TooManyRequestsException) as raised:
        await dispatcher.invoke(target(reserved=0), event(), wait_s=PATIENCE_S)
    assert raised.value.reason == RESERVED_REASON


async def test_the_accounts_limit_throttles_with_its_reason(cell: Cell) -> None:
    worker = await cell.worker()
    dispatch = cell.settings.dispatch.model_copy(update={"account_concurrency": 1})
    dispatcher = await cell.dispatcher(settings=cell.settings.model_copy(update={"dispatch": dispatch}))
    call = asyncio.create_task(dispatcher.invoke(target("a"), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: worker.running == 1)
    with pytest.raises(TooManyRequestsException) as raised:
        await dispatcher.invoke(target("b"), event(), wait_s=PATIENCE_S)
    assert raised.value.reason == ACCOUNT_REASON
    # A reserved function does not need the account's pool.
    await dispatcher.invoke(target("c", reserved=1), event(), wait_s=PATIENCE_S)
    worker.let_go.set()
    await call


async def test_a_kept_lease_is_called_back_when_another_holder_meets_the_limit(cell: Cell) -> None:
    await cell.worker()
    dispatch = cell.settings.dispatch.model_copy(update={"sticky_ms": 1_000})
    keeps = await cell.dispatcher(settings=cell.settings.model_copy(update={"dispatch": dispatch}))
    other = await cell.dispatcher("poller")
    limited = target(reserved=2)
    await keeps.invoke(limited, event(), wait_s=PATIENCE_S)
    held = asyncio.create_task(other.invoke(limited, event("sleep", s=0.5), wait_s=PATIENCE_S))
    await until(lambda: cell.workers[0].running == 1)
    assert len(await cell.leases()) == 2
    await other.invoke(limited, event(), wait_s=PATIENCE_S)
    await held


async def test_kept_leases_go_back_when_the_function_changes(cell: Cell) -> None:
    await cell.worker()
    dispatch = cell.settings.dispatch.model_copy(update={"sticky_ms": 1_000})
    dispatcher = await cell.dispatcher(settings=cell.settings.model_copy(update={"dispatch": dispatch}))
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await Announcer(cell.redis).function_changed("us-east-1/f1", 2, None)
    await until(cell.no_leases)
    with pytest.raises(StaleTargetError):
        await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await dispatcher.invoke(target(revision=2), event(), wait_s=PATIENCE_S)


async def test_every_process_of_the_cell_hears_whose_urls_changed_and_forgets_all_after_a_gap(cell: Cell) -> None:
    dispatcher, heard = await cell.dispatcher(), list[str | None]()
    dispatcher.on_urls_changed = heard.append
    await Announcer(cell.redis).urls_changed("f1")
    await until(lambda: heard == ["f1"])
    await cell.redis.client_kill_filter(_type="pubsub")
    # The connection is back; what was said meanwhile is unknown.
    await until(lambda: None in heard)


async def test_a_target_with_a_newer_revision_is_news_to_redis(cell: Cell) -> None:
    await cell.worker()
    one, other = await cell.dispatcher(), await cell.dispatcher("poller")
    await one.invoke(target(revision=7, reserved=3), event(), wait_s=PATIENCE_S)
    with pytest.raises(StaleTargetError):
        await other.invoke(target(revision=6), event(), wait_s=PATIENCE_S)
    state = await cell.state()
    assert (state["rev:us-east-1/f1"], state["res:us-east-1/f1"]) == ("7", "3")


async def test_the_least_recently_used_environment_makes_room_for_another_version(cell: Cell) -> None:
    worker = await cell.worker(slots=2)
    dispatcher = await cell.dispatcher()
    for function in ("a", "b"):
        await dispatcher.invoke(target(function), event(), wait_s=PATIENCE_S)
        await until(cell.no_leases)
    await dispatcher.invoke(target("c"), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    assert sorted(e.function for e in worker.environments.values()) == ["us-east-1/b", "us-east-1/c"]
    await cell.check()


async def test_a_full_cell_makes_callers_wait_until_room_appears(cell: Cell) -> None:
    worker = await cell.worker(slots=1)
    dispatcher = await cell.dispatcher()
    first = asyncio.create_task(dispatcher.invoke(target("a"), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: worker.running == 1)
    waiting = [asyncio.create_task(dispatcher.invoke(target("b"), event(), wait_s=PATIENCE_S)) for _ in range(3)]
    with pytest.raises(NoCapacityError):
        await dispatcher.invoke(target("c"), event(), wait_s=0.05)
    assert not any(call.done() for call in waiting)
    worker.let_go.set()
    await first
    await asyncio.gather(*waiting)


async def test_a_cell_without_workers_says_that_there_is_no_room(cell: Cell) -> None:
    dispatcher = await cell.dispatcher()
    with pytest.raises(NoCapacityError):
        await dispatcher.invoke(target(), event(), wait_s=0.3)


async def test_a_refused_invocation_is_placed_again(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    worker.refuse_next = [Refusal(RefusalReason.BUSY, False), Refusal(RefusalReason.STALE_FENCE, False)]
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert len(worker.refused) == 2
    worker.environments.clear()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    await cell.check()


FOR_GOOD = (RefusalReason.PACKAGE_REFUSED, RefusalReason.UNSUPPORTED_RUNTIME)


@pytest.mark.parametrize("reason", [reason for reason in RefusalReason if reason not in FOR_GOOD])
async def test_refusals_without_end_end(cell: Cell, reason: RefusalReason) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    worker.refuse_next = [Refusal(reason, False)] * 10_000
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises((NotStartedError, NoCapacityError)):
            await dispatcher.invoke(target(), event(), wait_s=0.3)
    await until(cell.no_leases)
    await cell.check()


async def test_a_refused_package_is_tried_once_and_nowhere_else(cell: Cell) -> None:
    workers = [await cell.worker("w1"), await cell.worker("w2")]
    dispatcher = await cell.dispatcher()
    for worker in workers:
        worker.refuse_next = [Refusal(RefusalReason.PACKAGE_REFUSED, True, "'../x' leaves the package")] * 100
    with pytest.raises(InvalidZipFileException) as refused:
        await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert refused.value.message == "Lambda could not unzip the deployment package: '../x' leaves the package."
    assert sum(len(worker.refused) for worker in workers) == 1
    await until(cell.no_leases)
    await cell.check()


async def test_a_runtime_that_no_worker_has_ends_it_at_once_and_how_to_get_it_is_told(cell: Cell) -> None:
    lacks = Capabilities("x86_64", ("python3.11",))
    workers = [await cell.worker(f"w{number}", capabilities=lacks) for number in range(3)]
    dispatcher = await cell.dispatcher()
    for worker in workers:
        worker.refuse_next = [Refusal(RefusalReason.UNSUPPORTED_RUNTIME, True, "no such runtime here")] * 100
    with pytest.raises(InvalidRuntimeException) as refused:
        await dispatcher.invoke(target(), event(), wait_s=60)
    assert refused.value.message.startswith(
        "No worker of this cluster has the runtime python3.12. Run `lambdad runtimes install python3.12` "
    )
    assert sum(len(worker.refused) for worker in workers) == 1
    await until(cell.no_leases)
    await cell.check()


async def test_a_runtime_that_one_of_many_workers_has_is_found_by_what_they_say(cell: Cell) -> None:
    lacks, has = Capabilities("x86_64", ("python3.11",)), Capabilities("x86_64", ("python3.11", "python3.12"))
    lacking = [await cell.worker(f"w{number}", slots=50, capabilities=lacks) for number in range(20)]
    for worker in lacking:
        worker.refuse_next = [Refusal(RefusalReason.UNSUPPORTED_RUNTIME, True, "no such runtime here")] * 100
    good = await cell.worker("good", slots=1, capabilities=has)
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=60)
    assert len(good.ran) == 1
    assert sum(len(worker.refused) for worker in lacking) == 1


async def test_the_one_worker_that_has_the_runtime_is_waited_for_while_it_has_no_room(cell: Cell) -> None:
    lacks, has = Capabilities("x86_64", ("python3.11",)), Capabilities("x86_64", ("python3.11", "python3.12"))
    good = await cell.worker("good", slots=50, capabilities=has)
    lacking = await cell.worker("w1", slots=5, capabilities=lacks)
    good.refuse_next = [Refusal(RefusalReason.NO_ROOM, True)]
    lacking.refuse_next = [Refusal(RefusalReason.UNSUPPORTED_RUNTIME, True, "no such runtime here")] * 100
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert (len(good.refused), len(lacking.refused), len(good.ran)) == (1, 1, 1)


async def test_what_workers_can_run_is_known_as_long_as_they_are_there(cell: Cell) -> None:
    now = 0.0
    directory = WorkerDirectory(cell.redis, cell.settings.dispatch, lambda: now)
    assert not await directory.capabilities()
    has = Capabilities("arm64", ("python3.12", "provided.al2023"))
    worker = await cell.worker("w1", capabilities=has)
    await cell.worker("w2", capabilities=Capabilities("x86_64", ()))
    assert sorted(each.architecture for each in await directory.capabilities()) == ["arm64", "x86_64"]
    assert has in await directory.capabilities()
    await worker.leave()
    assert has in await directory.capabilities(), "it is not asked for again at once"
    now = KNOWN_S
    assert await directory.capabilities() == [Capabilities("x86_64", ())]


async def test_a_refusing_worker_is_avoided_while_another_has_room(cell: Cell) -> None:
    refusing = await cell.worker("w1", slots=50)
    good = await cell.worker("w2", slots=5)
    dispatcher = await cell.dispatcher()
    refusing.refuse_next = [Refusal(RefusalReason.UNSUPPORTED_RUNTIME, True, "no node here")] * 100
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert len(good.ran) == 1
    assert len(refusing.refused) == 1


async def test_big_payloads_travel_both_ways_under_flow_control(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    big = Invocation("r", json.dumps({"do": "echo", "x": "y" * (6 * 1024 * 1024 - 100)}).encode())
    result = await dispatcher.invoke(target(), big, wait_s=PATIENCE_S)
    assert result.payload == big.payload
    sizes = [0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024, 5_000_000]
    for size, result in zip(
        sizes,
        await asyncio.gather(*(dispatcher.invoke(target(), event("big", bytes=size), wait_s=PATIENCE_S) for size in sizes)),
        strict=True,
    ):
        assert len(result.payload or b"") == size or size == 0


async def test_a_lost_connection_is_an_invocation_lost(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    with pytest.raises(InvocationLostError):
        await dispatcher.invoke(target(), event("die"), wait_s=PATIENCE_S)
    assert len(worker.ran) == 1
    await until(cell.no_leases)
    await dispatcher.invoke(target("f2"), event(), wait_s=PATIENCE_S)


async def test_cancelling_the_caller_cancels_the_invocation_and_returns_the_lease(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    call = asyncio.create_task(dispatcher.invoke(target(), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: worker.running == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: len(worker.cancelled) == 1)
    await until(cell.no_leases)
    await cell.check()


async def test_a_worker_that_never_answers_does_not_hold_its_caller(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.dispatch.client.run.INIT_TIMEOUT_S", 0)
    monkeypatch.setattr("shared.dispatch.client.run.MARGIN_S", 0.2)
    monkeypatch.setattr("shared.dispatch.wire.connection.CANCEL_GRACE_S", 0.2)
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    with pytest.raises(InvocationLostError):
        await dispatcher.invoke(target(timeout_s=0), event("hang"), wait_s=PATIENCE_S)
    await until(lambda: len(worker.stopped) == 1)
    await until(cell.no_leases)


async def test_a_worker_that_goes_silent_is_given_up(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.dispatch.wire.connection.PING_AFTER_S", 0.2)
    monkeypatch.setattr("shared.dispatch.wire.connection.SILENT_S_MAX", 0.8)
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    # PONGs keep a long invocation alive ...
    await dispatcher.invoke(target(), event("sleep", s=1.2), wait_s=PATIENCE_S)
    # ... and their absence ends it.
    call = asyncio.create_task(dispatcher.invoke(target(), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: worker.running == 1)
    worker.deaf = True
    with pytest.raises(InvocationLostError):
        await call


async def test_a_worker_with_another_secret_gets_nothing(cell: Cell) -> None:
    stranger = await cell.worker(secret="not this cluster's")
    dispatcher = await cell.dispatcher()
    with pytest.raises((DispatchUnavailableError, NoCapacityError)):
        await dispatcher.invoke(target(), event(), wait_s=0.3)
    assert not stranger.ran
    await until(cell.no_leases)


async def test_a_crashed_environment_is_not_leased_again(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    crashed = await dispatcher.invoke(target(), event("crash"), wait_s=PATIENCE_S)
    assert crashed.function_error == "Unhandled"
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert len({environment for _, environment, _ in worker.ran}) == 2
    await until(cell.no_leases)
    await cell.check()


async def test_closing_gives_everything_back(cell: Cell) -> None:
    await cell.worker()
    dispatch = cell.settings.dispatch.model_copy(update={"sticky_ms": 1_000})
    dispatcher = await cell.dispatcher(settings=cell.settings.model_copy(update={"dispatch": dispatch}))
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert await cell.leases()
    await dispatcher.close()
    assert await cell.no_leases()
    with pytest.raises(DispatchUnavailableError):
        await dispatcher.invoke(target(), event(), wait_s=0)
