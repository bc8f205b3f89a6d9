"""What is killed, wiped or restarted in the middle, and that everything comes back without a person."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import uuid

from redis.asyncio import Redis

from shared.dispatch.client.dispatcher import Dispatcher
from shared.domain.errors import DispatchError, TooManyRequestsException
from shared.domain.invocations import Invocation
from tests.integration.dispatch.conftest import Cell, RedisProcess, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S


def event(do: str = "echo", **more: object) -> Invocation:
    return Invocation(uuid.uuid4().hex, json.dumps({"do": do, **more}).encode())


async def kill_dispatcher(dispatcher: Dispatcher) -> None:
    """End like a process that was killed: connections break, nothing is said."""
    for cell in dispatcher.cells:
        await cell._holder.close()
        await cell._redis.close()
        for connection in cell._workers.all_open():
            connection.abort("killed")


async def test_a_wiped_redis_is_rebuilt_from_what_the_workers_report(cell: Cell, redis: Redis) -> None:
    worker = await cell.worker(slots=5)
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    running = [
        asyncio.create_task(dispatcher.invoke(target(reserved=3, revision=2), event("wait"), wait_s=PATIENCE_S))
        for _ in range(2)
    ]
    await until(lambda: worker.running == 2)
    before = next(v for k, v in (await cell.state()).items() if k.startswith("epoch:"))
    await redis.flushall()
    await dispatcher.invoke(target(reserved=3, revision=2), event(), wait_s=PATIENCE_S)
    state = await cell.state()
    assert int(next(v for k, v in state.items() if k.startswith("epoch:"))) > int(before)
    assert len(await cell.leases()) >= 2, "what ran when Redis was wiped counts again"
    worker.let_go.set()
    await asyncio.gather(*running)
    await until(cell.no_leases)
    await cell.check()
    assert len({environment for _, environment, _ in worker.ran}) <= 3, "environments outlive Redis"


async def test_a_restarted_redis_with_old_data_is_not_believed(cell: Cell, redis_process: RedisProcess) -> None:
    worker = await cell.worker(slots=5)
    dispatcher = await cell.dispatcher()
    running = asyncio.create_task(dispatcher.invoke(target(), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: worker.running == 1)
    epochs = {k: v for k, v in (await cell.state()).items() if k.startswith("epoch:")}
    redis_process.kill()
    waiting = asyncio.create_task(dispatcher.invoke(target("f2"), event(), wait_s=PATIENCE_S))
    redis_process.start()
    await waiting
    after = {k: v for k, v in (await cell.state()).items() if k.startswith("epoch:")}
    assert not epochs.keys() & after.keys()
    assert len(after) == 1
    assert int(max(after.values())) > int(max(epochs.values()))
    worker.let_go.set()
    await running
    await until(cell.no_leases)
    await cell.check()


async def test_a_kept_lease_still_works_while_redis_is_away_for_a_moment(cell: Cell, redis_process: RedisProcess) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    redis_process.kill()
    try:
        with contextlib.suppress(DispatchError):
            async with asyncio.timeout(PATIENCE_S):
                await dispatcher.invoke(target(), event(), wait_s=0.2)
    finally:
        redis_process.start()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await until(cell.has_epoch)
    await until(cell.no_leases)
    await cell.check()


async def test_the_leases_of_a_dead_holder_are_given_back_once(cell: Cell) -> None:
    worker = await cell.worker()
    dying, other = await cell.dispatcher(), await cell.dispatcher("poller")
    limited = target(reserved=2)
    calls = [asyncio.create_task(dying.invoke(limited, event("wait"), wait_s=PATIENCE_S)) for _ in range(2)]
    await until(lambda: worker.running == 2)
    await kill_dispatcher(dying)
    await asyncio.gather(*calls, return_exceptions=True)
    await until(cell.no_leases)
    await cell.check()
    worker.let_go.set()
    await other.invoke(limited, event(), wait_s=PATIENCE_S)
    cell.dispatchers.remove(dying)


async def test_a_dead_worker_is_forgotten_and_its_leases_are_given_back(cell: Cell) -> None:
    dying, other = await cell.worker("w1", slots=10), await cell.worker("w2", slots=5)
    dispatcher = await cell.dispatcher()
    running = asyncio.create_task(dispatcher.invoke(target(), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: dying.running == 1)
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await dying.kill()
    [lost] = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(lost, Exception)
    # Found by refused connections first, by the scheduler soon after.
    await asyncio.gather(*(dispatcher.invoke(target(), event(), wait_s=PATIENCE_S) for _ in range(5)))
    assert len(other.ran) >= 5

    async def forgotten() -> bool:
        return await cell.redis.hkeys(cell.keys.workers) == [b"w2"]

    await until(forgotten)
    await until(cell.no_leases)
    await cell.check()


async def test_a_worker_that_was_taken_for_dead_comes_back_with_its_environments(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    await cell.redis.zadd(cell.keys.alive_workers, {"w1": 1})
    await until(lambda: worker.membership.problem is None)

    async def back() -> bool:
        return bool(await cell.redis.zcard(cell.keys.idle("f1:1")))

    await until(back)
    second = await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert second.init_ms is None
    await until(cell.no_leases)
    await cell.check()


async def test_a_leaving_worker_is_forgotten_at_once(cell: Cell) -> None:
    leaving = await cell.worker("w1", slots=10)
    staying = await cell.worker("w2", slots=5)
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    await leaving.membership.drain()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    assert len(staying.ran) == 1
    await leaving.leave()
    assert await cell.redis.hkeys(cell.keys.workers) == [b"w2"]
    await until(cell.no_leases)
    await cell.check()


async def test_another_scheduler_takes_over(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    first = await cell.redis.get(cell.keys.leader)
    await cell.scheduler()
    task, _ = cell.schedulers.pop(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    async def other_leads() -> bool:
        return await cell.redis.get(cell.keys.leader) not in (None, first)

    await until(other_leads)
    await cell.redis.flushall()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)


async def test_a_leader_that_lost_its_lead_changes_nothing(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    call = asyncio.create_task(dispatcher.invoke(target(), event("wait"), wait_s=PATIENCE_S))
    await until(lambda: cell.workers[0].running == 1)
    from shared.dispatch.cell.scripts import script

    keys, holder = cell.keys, dispatcher.holder
    names = (keys.state, keys.alive_holders, keys.leases(holder, "u"), keys.leases(holder, "r"), keys.lru, keys.leader)
    reply = await cell.redis.eval(script("reap_holder").body.decode(), 6, *names, holder, "old-leader:1", keys.prefix)
    assert reply == -1
    assert len(await cell.leases()) == 1
    cell.workers[0].let_go.set()
    await call


async def test_idle_environments_are_stopped_after_their_time(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    [environment] = worker.environments
    for key in (cell.keys.idle("f1:1"), cell.keys.lru):
        for member in await cell.redis.zrange(key, 0, -1):
            await cell.redis.zadd(key, {member: 1})
    await until(lambda: worker.stopped == [environment])
    await cell.check()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)


async def test_an_environment_that_was_busy_for_another_is_tried_again_later(cell: Cell) -> None:
    worker = await cell.worker(slots=1)
    dispatcher = await cell.dispatcher()
    await dispatcher.invoke(target(), event(), wait_s=PATIENCE_S)
    await until(cell.no_leases)
    [environment] = worker.environments.values()
    environment.busy = True
    call = asyncio.create_task(dispatcher.invoke(target(), event(), wait_s=PATIENCE_S))
    await until(lambda: len(worker.refused) > 0)
    environment.busy = False
    await call
    assert len(worker.refused) < 5


async def test_a_lease_whose_grant_was_lost_is_found_and_given_back(cell: Cell) -> None:
    await cell.worker()
    dispatcher = await cell.dispatcher()
    leases = dispatcher.cells[0]._leases
    lease = await leases.acquire(dispatcher.cells[0]._sticky.open(leases.version(target())))
    leases._live.clear()  # as if the reply had never come
    leases.audits_due = 1
    assert lease is not None
    await until(cell.no_leases)
    await cell.check()


async def test_limits_hold_and_nothing_leaks_whatever_happens(cell: Cell, redis: Redis) -> None:
    """Random invocations, cancellations, refusals, crashes, wiped memory, dead holders and workers; then peace."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    workers = [await cell.worker(f"w{i}", slots=6, run_s=0.002) for i in range(2)]
    dispatchers = [await cell.dispatcher(role) for role in ("frontend", "poller")]
    limits = {"a": 2, "b": 4, "c": None}
    most = {f"us-east-1/{function}": limit or 12 for function, limit in limits.items()}
    lost: list[asyncio.Task[object]] = []

    async def caller(number: int) -> None:
        for _ in range(60):
            function = chance.choice(list(limits))
            what = chance.choice([event(), event(), event("crash"), event("sleep", s=0.01)])
            call = asyncio.create_task(
                dispatchers[number % 2].invoke(target(function, reserved=limits[function]), what, wait_s=PATIENCE_S)
            )
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() * 0.01)
                call.cancel()
            with contextlib.suppress(DispatchError, TooManyRequestsException, asyncio.CancelledError):
                await call

    async def a_holder_dies() -> None:
        newcomer = await cell.dispatcher("router")
        calls = [newcomer.invoke(target("c"), event("sleep", s=0.2), wait_s=PATIENCE_S) for _ in range(3)]
        lost.extend(asyncio.create_task(call) for call in calls)
        await asyncio.sleep(0.05)
        await kill_dispatcher(newcomer)
        cell.dispatchers.remove(newcomer)

    def within_limits() -> bool:
        return all(count <= most[function] for function, count in cell.tally.most.items())

    async def mischief() -> None:
        await asyncio.sleep(0.5)
        assert within_limits(), (seed, cell.tally)
        await redis.flushall()
        await asyncio.sleep(0.3)
        await a_holder_dies()

    async with asyncio.timeout(40):
        await asyncio.gather(mischief(), *(caller(n) for n in range(12)))
        await asyncio.gather(*lost, return_exceptions=True)
        await until(cell.no_leases, 15)
    await cell.check()
    assert within_limits(), (seed, cell.tally)
    assert not [violation for worker in workers for violation in worker.violations.found], seed
