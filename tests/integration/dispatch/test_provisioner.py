"""The scheduler brings provisioned concurrency about, with workers that come and go, on a Redis that may be wiped."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from services.scheduler.provisioned.plans import Plan, Share, owner_of
from shared.dispatch.wire.messages import Refusal, RefusalReason
from shared.domain.errors import TooManyRequestsException
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation
from shared.domain.provisioned import INIT_FAILURE, AllocationStatus, ProvisionedConcurrency
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S

READY, IN_PROGRESS, FAILED = AllocationStatus.READY, AllocationStatus.IN_PROGRESS, AllocationStatus.FAILED


class Wanted:
    """The registry's part: plans in memory, each status that was ever reported."""

    def __init__(self) -> None:
        self.plans: dict[str, Plan] = {}
        self.reported: list[ProvisionedConcurrency] = []

    def want(self, name: str, count: int, of: InvokeTarget, *, held: InvokeTarget | None = None) -> None:
        before = self.plans.get(name)
        generation = 1 if before is None else before.configuration.generation + 1
        configuration = ProvisionedConcurrency(of.spec.function_id, name, count, generation, 0)
        if before is not None:
            configuration = msgspec.structs.replace(configuration, allocated=before.configuration.allocated)
        held_owner = None if held is None else owner_of(held)
        self.plans[name] = Plan(configuration, (Share(of, count),), int(of.spec.version), held_owner)

    def status(self, name: str = "one") -> tuple[AllocationStatus, int]:
        configuration = self.plans[name].configuration
        return configuration.status, configuration.allocated

    async def load(self) -> list[Plan]:
        return list(self.plans.values())

    async def report(self, configuration: ProvisionedConcurrency) -> bool:
        plan = self.plans.get(configuration.qualifier)
        if plan is None or plan.configuration.generation != configuration.generation:
            return False
        self.reported.append(configuration)
        self.plans[configuration.qualifier] = msgspec.structs.replace(plan, configuration=configuration)
        return True

    async def close(self) -> None:
        pass


@pytest.fixture
def wanted() -> Wanted:
    return Wanted()


@pytest.fixture
async def cell(settings: Settings, redis: Redis, wanted: Wanted) -> AsyncIterator[Cell]:
    cell = Cell(settings, redis)
    await cell.scheduler(wanted)
    yield cell
    await cell.close()


async def news(cell: Cell) -> None:
    """As a frontend announces it."""
    await cell.redis.publish(cell.keys.events, "changed f1 1")


def event(**what: object) -> Invocation:
    return Invocation(str(uuid.uuid4()), json.dumps(what or {"do": "echo"}).encode())


async def test_what_is_wanted_is_there_before_it_is_ready_and_serves(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    worker.may_prepare.clear()
    wanted.want("one", 3, target())
    await news(cell)
    await until(lambda: len(worker.environments) == 3)
    assert wanted.status() == (IN_PROGRESS, 0)
    worker.may_prepare.set()
    await until(lambda: wanted.status() == (READY, 3))
    assert all(one.allocated == one.requested for one in wanted.reported if one.status is READY)
    dispatcher = await cell.dispatcher()
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(dispatcher.invoke(target(), event(do="wait"), wait_s=PATIENCE_S))
        await until(lambda: worker.running == 4)
        worker.let_go.set()
    assert set(worker.prepared) < {environment for _, environment, _ in worker.ran}
    assert len(worker.environments) == 4, "the fourth was started on demand"
    await until(cell.no_leases)
    await cell.check()


async def test_what_is_wanted_no_more_is_stopped_and_counts_no_more(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    wanted.want("one", 4, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 4))
    wanted.want("one", 1, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 1))
    del wanted.plans["one"]
    await news(cell)
    await until(lambda: not worker.environments)
    assert (await cell.state()).get("run:us-east-1/f1", "0") == "0"
    assert (await cell.state())["running:us-east-1"] == "0"
    await cell.check()


async def test_a_dead_workers_environments_are_started_elsewhere(cell: Cell, wanted: Wanted) -> None:
    first, second = await cell.worker("w1"), await cell.worker("w2")
    wanted.want("one", 6, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 6))
    lost = len(first.environments)
    assert lost == 3
    await first.kill()
    await until(lambda: wanted.status() == (IN_PROGRESS, 6 - lost) or len(second.environments) == 6)
    await until(lambda: wanted.status() == (READY, 6))
    assert len(second.environments) == 6
    await until(cell.no_leases)
    await cell.check()


async def test_one_whose_runtime_ended_is_replaced(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    wanted.want("one", 1, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 1))
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(do="crash"), wait_s=PATIENCE_S)
    await until(lambda: len(worker.prepared) == 2 and wanted.status() == (READY, 1))
    await cell.check()


async def test_a_wiped_redis_learns_of_them_again_and_none_is_started_anew(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    wanted.want("one", 3, target(reserved=3))
    await news(cell)
    await until(lambda: wanted.status() == (READY, 3))
    before = set(worker.environments)
    await cell.redis.flushall()
    dispatcher = await cell.dispatcher()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(dispatcher.invoke(target(reserved=3), event(do="wait"), wait_s=PATIENCE_S))
        await until(lambda: worker.running == 3)
        worker.let_go.set()
    assert {environment for _, environment, _ in worker.ran} == before == set(worker.environments)
    with pytest.raises(TooManyRequestsException):
        await dispatcher.invoke(target(version="2", reserved=3), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    await cell.check()


async def test_a_scheduler_that_takes_over_gives_up_what_the_last_one_began(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    worker.may_prepare.clear()
    wanted.want("one", 2, target())
    await news(cell)
    await until(lambda: len(worker.environments) == 2)
    begun = set(worker.environments)
    task, _ = cell.schedulers[0]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    worker.may_prepare.set()
    await cell.scheduler(wanted)
    await until(lambda: wanted.status() == (READY, 2), 15)
    assert not begun & set(worker.environments)
    await until(lambda: len(worker.environments) == 2)
    await cell.check()


async def test_an_alias_that_moves_keeps_what_it_has_until_the_other_version_is_there(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    old, new = target(version="1", reserved=2), target(version="2", reserved=2)
    wanted.want("one", 2, old)
    await news(cell)
    await until(lambda: wanted.status() == (READY, 2))
    worker.may_prepare.clear()
    wanted.want("one", 2, new, held=old)
    await news(cell)
    await until(lambda: len(worker.environments) == 4)
    assert wanted.status() == (IN_PROGRESS, 2)
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(old, event(), wait_s=PATIENCE_S)
    worker.may_prepare.set()
    await until(lambda: wanted.status() == (READY, 2))
    await until(lambda: {one.version_key for one in worker.environments.values()} == {new.spec.version_key})
    assert all(one.allocated == 2 for one in wanted.reported if one.generation == 2)
    await dispatcher.invoke(new, event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    await cell.check()


async def test_never_more_runs_than_is_reserved_while_an_alias_moves_back_and_forth_under_load(
    cell: Cell, wanted: Wanted
) -> None:
    await cell.worker("w1", 20, run_s=0.005)
    versions = [target(version="1", reserved=4), target(version="2", reserved=4)]
    dispatcher = await cell.dispatcher()
    stop, done, throttled = asyncio.Event(), 0, 0

    async def load(of: InvokeTarget) -> None:
        nonlocal done, throttled
        while not stop.is_set():
            try:
                await dispatcher.invoke(of, event(), wait_s=PATIENCE_S)
                done += 1
            except TooManyRequestsException:
                throttled += 1
                await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            for of in versions:
                group.create_task(load(of))
        for turn in range(6):
            wanted.want("one", 3, versions[turn % 2], held=versions[(turn + 1) % 2] if turn else None)
            await news(cell)
            await until(lambda: wanted.status() == (READY, 3))
            before = done
            await until(lambda before=before: done > before + 20)
        stop.set()
    assert throttled > 0, "more was asked for than may run"
    assert cell.tally.most["us-east-1/f1"] <= 4
    await until(cell.no_leases)
    await cell.check()


async def test_a_function_that_does_not_initialise_fails_the_allocation_and_is_tried_again(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    worker.prepare_fails = True
    wanted.want("one", 2, target())
    await news(cell)
    await until(lambda: wanted.status() == (FAILED, 0))
    assert wanted.plans["one"].configuration.status_reason == INIT_FAILURE
    dispatcher = await cell.dispatcher()
    assert (await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)).function_error is None, "on demand it still runs"
    worker.prepare_fails = False
    await until(lambda: wanted.status() == (READY, 2))
    assert wanted.plans["one"].configuration.status_reason == ""
    await cell.check()


async def test_a_start_that_a_worker_refuses_for_itself_alone_goes_elsewhere_and_has_not_failed(
    cell: Cell, wanted: Wanted
) -> None:
    first, second = await cell.worker("w1", 20), await cell.worker("w2", 2)
    first.refuse_next = [Refusal(RefusalReason.UNSUPPORTED_RUNTIME, True)]
    wanted.want("one", 1, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 1))
    assert len(first.refused) == len(second.environments) == 1
    assert all(one.status is not FAILED for one in wanted.reported)
    await cell.check()


@pytest.mark.parametrize("reason", [RefusalReason.UNSUPPORTED_RUNTIME, RefusalReason.FAILED, RefusalReason.PACKAGE_REFUSED])
async def test_a_start_that_no_worker_can_make_fails_the_allocation_and_is_tried_again_later(
    cell: Cell, wanted: Wanted, reason: RefusalReason
) -> None:
    worker = await cell.worker()
    worker.refuse_next = [Refusal(reason, True, "what is wrong")] * 2
    wanted.want("one", 1, target())
    await news(cell)
    await until(lambda: wanted.status() == (FAILED, 0))
    assert "what is wrong" in wanted.plans["one"].configuration.status_reason
    assert len(worker.refuse_next) == 1, "it was not tried again at once"
    await until(lambda: wanted.status() == (READY, 1))
    await cell.check()


async def test_a_start_whose_worker_dies_is_made_elsewhere(cell: Cell, wanted: Wanted) -> None:
    first, second = await cell.worker("w1"), await cell.worker("w2")
    first.may_prepare.clear()
    wanted.want("one", 2, target())
    await news(cell)
    await until(lambda: len(first.environments) == 1 and len(second.prepared) == 1)
    await first.kill()
    await until(lambda: wanted.status() == (READY, 2))
    assert len(second.environments) == 2
    await cell.check()


async def test_a_request_beyond_the_room_there_is_waits_for_a_worker(cell: Cell, wanted: Wanted) -> None:
    await cell.worker("w1", 2)
    wanted.want("one", 5, target())
    await news(cell)
    await until(lambda: wanted.status() == (IN_PROGRESS, 2))
    await cell.worker("w2", 5)
    await until(lambda: wanted.status() == (READY, 5))
    await cell.check()


async def test_a_start_that_nobody_knows_of_is_given_up(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    wanted.want("one", 1, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 1))
    # As a scheduler leaves it that died between taking the place and asking the worker.
    keys, owner = cell.keys, owner_of(target())
    await cell.redis.hset(keys.envs("w1"), "9-9", f"{owner}\n128")
    slots, free, size = (await cell.redis.hget(keys.room, "w1")).split()
    await cell.redis.hset(keys.room, "w1", b"%d %d %b" % (int(slots) - 1, int(free) - 128, size))
    await cell.redis.hincrby(keys.room, "*free", -128)
    await cell.redis.zincrby(keys.free, -128, "w1")
    await cell.redis.hset(keys.provisioned_of(target().spec.version_key), "9-9@w1", "s")
    await until(lambda: "9-9" in worker.stopped)
    assert not await cell.redis.hexists(keys.envs("w1"), "9-9")
    assert wanted.status() == (READY, 1)
    await cell.check()


async def test_one_that_did_not_hear_that_it_is_to_end_is_told_again(cell: Cell, wanted: Wanted) -> None:
    worker = await cell.worker()
    wanted.want("one", 1, target())
    await news(cell)
    await until(lambda: wanted.status() == (READY, 1))
    (environment,) = worker.environments
    dispatcher = await cell.dispatcher()
    running = asyncio.create_task(dispatcher.invoke(target(), event(do="wait"), wait_s=PATIENCE_S))
    await until(lambda: worker.running == 1)
    # Marked, and its worker never told: as when the scheduler dies in between.
    await cell.redis.hset(cell.keys.provisioned_of(target().spec.version_key), f"{environment}@w1", "x")
    await until(lambda: environment in worker.stopped)
    worker.let_go.set()
    await running
    await until(lambda: environment not in worker.environments)
    await until(lambda: wanted.status() == (READY, 1) and len(worker.environments) == 1)
    await cell.check()
