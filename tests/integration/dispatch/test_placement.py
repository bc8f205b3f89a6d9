"""Where cold starts go: by memory, to where the code is likely to be, and what is stopped for them. The real scripts on a Redis."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Leases, NoCapacity
from shared.dispatch.cell.membership import WorkerMembership
from shared.dispatch.cell.scripts import script
from shared.dispatch.wire.connection import GONE, IDLE
from shared.redis.connection import RedisConnection
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S


@pytest.fixture
async def leases(settings: Settings, redis: Redis) -> AsyncIterator[Leases]:
    connection = RedisConnection(settings.redis_url, name="test", connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    yield Leases(connection, Keys("0"), "h", account_concurrency=100_000)
    await connection.close()


@pytest.fixture
def cell(settings: Settings, redis: Redis) -> Cell:
    """A cell without a scheduler, opened by hand; its workers are only names."""
    return Cell(settings, redis)


async def ask(leases: Leases, function: str, memory_mb: int = 128) -> Lease | NoCapacity:
    answer = await leases.acquire(leases.version(target(function, memory_mb=memory_mb)))
    assert isinstance(answer, Lease | NoCapacity), answer
    return answer


async def granted(leases: Leases, function: str, memory_mb: int = 128) -> Lease:
    answer = await ask(leases, function, memory_mb)
    assert isinstance(answer, Lease)
    return answer


async def give_back(leases: Leases, lease: Lease, outcome: bytes = IDLE) -> None:
    leases.release(lease, outcome)
    await until(lambda: lease.name not in leases._live)


async def test_environments_of_a_worker_add_up_to_the_memory_it_announces(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({"w1": 100}, memory_mb=1_000)
    first = await granted(leases, "a", 600)
    assert isinstance(await ask(leases, "b", 401), NoCapacity)
    second = await granted(leases, "b", 400)
    await cell.check()
    await give_back(leases, first, GONE)
    third = await granted(leases, "c", 600)
    assert {lease.worker_id for lease in (first, second, third)} == {"w1"}
    await cell.check()


async def test_a_large_function_goes_where_there_is_memory_for_it_and_not_where_there_are_slots(
    cell: Cell, leases: Leases
) -> None:
    await cell.open_by_hand({f"small-{i}": 1_000 for i in range(20)}, memory_mb=4_000)
    await cell.report("large", 10, 20_000)
    lease = await granted(leases, "a", 10_240)
    assert lease.worker_id == "large"
    assert isinstance(await ask(leases, "b", 10_240), NoCapacity)
    await cell.check()


async def test_cold_starts_of_a_function_stay_together_until_their_worker_has_more_than_its_share(
    cell: Cell, leases: Leases
) -> None:
    await cell.open_by_hand({f"w{i}": 1_000 for i in range(50)}, memory_mb=256_000)
    homes = Counter([(await granted(leases, "a", 1_000)).worker_id for _ in range(10)])
    assert 2 <= len(homes) <= 5, homes
    again = {(await granted(leases, f"b{i}")).worker_id for i in range(60)}
    assert len(again) > 20, "other functions have other homes"
    await cell.check()


async def test_no_worker_stays_idle_beside_a_busy_one(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({"w1": 100, "w2": 100}, memory_mb=128_000)
    used = Counter([(await granted(leases, "a", 1_000)).worker_id for _ in range(60)])
    assert min(used.values()) >= 20, used
    await cell.check()


async def test_a_function_returns_to_its_home_when_others_come_and_go(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({f"w{i}": 100 for i in range(20)})
    names = [f"f{i}" for i in range(100)]
    before = {name: (await granted(leases, name)).worker_id for name in names}
    gone = before["f0"]
    drain, keys = script("drain_worker"), cell.keys
    await cell.redis.eval(drain.body, 1, keys.envs(gone), gone, keys.prefix)
    moved = {name for name in names if (await granted(leases, name)).worker_id != before[name]}
    assert {name for name, worker in before.items() if worker == gone} <= moved
    assert len(moved) < 40, "those of other workers stay, but for some whose worker has its share"


async def test_the_least_recently_used_goes_where_one_makes_room(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({"w1": 100}, memory_mb=1_000)
    for name in "abcd":
        await give_back(leases, await granted(leases, name, 250))
    lease = await granted(leases, "new", 200)
    assert len(lease.victims) == 1
    assert not (await granted(leases, "d", 250)).cold
    await cell.check()


async def test_several_small_ones_make_room_for_a_large_one(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({"w1": 100, "w2": 100}, memory_mb=1_280)
    for i in range(20):
        await give_back(leases, await granted(leases, f"f{i}"))
    lease = await granted(leases, "large", 1_000)
    assert len(lease.victims) == 8
    await cell.check()
    assert await cell.redis.hlen(cell.keys.envs(lease.worker_id)) == 3


async def test_what_runs_or_is_too_little_is_not_stopped_for_a_large_one(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({"w1": 100}, memory_mb=1_280)
    busy = [await granted(leases, f"f{i}") for i in range(10)]
    for lease in busy[:4]:
        await give_back(leases, lease)
    assert isinstance(await ask(leases, "large", 1_000), NoCapacity)
    assert await cell.redis.hlen(cell.keys.envs("w1")) == 10
    await cell.check()
    assert not (await granted(leases, "f0")).cold


async def test_a_worker_that_drains_is_nobodys_home_any_more(cell: Cell, leases: Leases) -> None:
    await cell.open_by_hand({"w1": 10, "w2": 10})
    running = [await granted(leases, f"f{i}") for i in range(6)]
    drain, keys = script("drain_worker"), cell.keys
    await cell.redis.eval(drain.body, 1, keys.envs("w1"), "w1", keys.prefix)
    await cell.check()
    for lease in running:
        await give_back(leases, lease, GONE)
    assert {(await granted(leases, f"g{i}")).worker_id for i in range(10)} == {"w2"}
    assert isinstance(await ask(leases, "more"), NoCapacity)
    await cell.check()


async def test_a_worker_whose_clock_is_off_stays_out_until_it_is_right(settings: Settings, redis: Redis) -> None:
    cell = Cell(settings, redis)
    await cell.scheduler()
    off_s = 60.0
    membership = WorkerMembership(settings, "late", "127.0.0.1:1", 5, None, list, clock=lambda: time.time() + off_s)
    stop = asyncio.Event()
    running = asyncio.create_task(membership.run(stop))
    await until(lambda: "60 s ahead" in (membership.problem or ""))
    assert not await redis.hexists(cell.keys.room, "late")
    off_s = 0.1
    await until(lambda: membership.problem is None)
    assert await redis.hexists(cell.keys.room, "late")
    stop.set()
    await running
    await membership.leave()
    await cell.close()
