"""How long idle environments are kept, on a real Redis: what counts as a pause, what is learnt, and what is then stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.scheduler.keep_alive import VERSIONS_A_STEP, KeepAlive
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Leases, now_ms
from shared.dispatch.cell.workers import WorkerConnections
from shared.dispatch.wire.connection import IDLE
from shared.domain.pauses import COUNTED_MIN, Bounds, bucket
from shared.redis.connection import RedisConnection
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S

LEADER = "leader:1"
BOUNDS = Bounds(standard_s=600, least_s=60, most_s=3_600)


class World:
    """A cell opened by hand, with one worker that runs. Its environments' last use can be moved into the past."""

    def __init__(self, cell: Cell, leases: Leases, keep_alive: KeepAlive) -> None:
        self.cell, self.redis, self.keys = cell, cell.redis, cell.keys
        self._leases = leases
        self._keep_alive = keep_alive

    async def used(self, function: str = "f1", count: int = 1) -> list[Lease]:
        """So many environments, used at the same time."""
        found = [await self._leases.acquire(self._leases.version(target(function))) for _ in range(count)]
        leases = [lease for lease in found if isinstance(lease, Lease)]
        assert len(leases) == count
        for lease in leases:
            self._leases.release(lease, IDLE)
        await until(lambda: not self._leases._live)
        return leases

    async def idle(self, seconds: float, function: str = "f1") -> None:
        """Its environments were last used then."""
        for key, members in (
            (self.keys.idle(f"{function}:1"), None),
            (self.keys.lru, [f"us-east-1/{function}\n{function}:1".encode()]),
        ):
            for member in members or await self.redis.zrange(key, 0, -1):
                await self.redis.zadd(key, {member: now_ms() - seconds * 1000}, xx=True)

    async def step(self) -> int:
        return await self._keep_alive.step(LEADER)

    async def counted(self, function: str = "f1") -> dict[int, int]:
        found = await self.redis.hgetall(self.keys.pauses(f"us-east-1/{function}"))
        return {int(name): int(count) for name, count in found.items() if name.isdigit()}

    async def exist(self, function: str = "f1") -> int:
        return int(await self.redis.zcard(self.keys.idle(f"{function}:1")))


@pytest.fixture
async def world(settings: Settings, redis: Redis) -> AsyncIterator[World]:
    cell = Cell(settings, redis)
    await cell.open_by_hand({"w1": 2_000})
    await redis.set(cell.keys.leader, LEADER)
    connection = RedisConnection(settings.redis_url, name="test", connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    workers = WorkerConnections(
        connection,
        cell.keys,
        secret=b"secret",
        role="scheduler",
        instance="test",
        timeout_s=0.2,
        on_end=lambda lease, outcome: None,
        on_lost=lambda lost: None,
    )
    leases = Leases(connection, Keys("0"), "h", account_concurrency=1_000)
    yield World(cell, leases, KeepAlive(connection, cell.keys, workers, BOUNDS))
    await workers.close()
    await connection.close()


async def test_long_pauses_are_counted_and_short_ones_are_not(world: World) -> None:
    await world.used()
    for pause_s in (0, 5, 9, 11, 200, 205, 100_000):
        await world.idle(pause_s)
        await world.used()
    assert await world.counted() == {0: 1, bucket(200): 2, 23: 1}
    assert await world.redis.ttl(world.keys.pauses("us-east-1/f1")) > 86_400


async def test_a_function_is_kept_for_as_long_as_its_pauses_were(world: World) -> None:
    await world.used()
    for _ in range(COUNTED_MIN):
        await world.idle(200)
        await world.used()
    await world.idle(240)
    assert await world.step() == 0
    assert await world.exist() == 1
    await world.idle(260)
    assert await world.step() == 1
    assert await world.exist() == 0
    await world.cell.check()


async def test_one_of_which_nothing_is_known_is_kept_for_the_usual_time(world: World) -> None:
    await world.used()
    await world.idle(590)
    assert await world.step() == 0
    await world.idle(610)
    assert await world.step() == 1
    await world.cell.check()


async def test_what_was_stopped_too_early_is_learnt_from(world: World) -> None:
    """The next start is a cold one, and its pause counts as any other: from then on they are bridged."""
    for _ in range(COUNTED_MIN):
        await world.used()
        await world.idle(1_000)
        assert await world.step() == 1
    assert await world.counted() == {bucket(1_000): COUNTED_MIN - 1}
    await world.used()
    await world.step()
    await world.idle(1_000)
    assert await world.step() == 0, "what would have been stopped before"
    await world.cell.check()


async def test_only_the_oldest_of_a_functions_environments_go(world: World) -> None:
    await world.used(count=3)
    await world.idle(700)
    newest = (await world.used(count=1))[0].token
    assert await world.step() == 2
    assert await world.redis.zrange(world.keys.idle("f1:1"), 0, -1) == [newest.encode()]
    await world.cell.check()


async def test_those_that_are_kept_for_long_hide_none_of_the_others(world: World) -> None:
    kept = VERSIONS_A_STEP + 20
    for number in range(kept):
        await world.redis.hset(world.keys.pauses(f"us-east-1/k{number}"), "keep", 3_600_000)
        await world.redis.zadd(world.keys.idle(f"k{number}:1"), {f"e{number}@w1": now_ms() - 2_000_000})
        await world.redis.zadd(world.keys.lru, {f"us-east-1/k{number}\nk{number}:1": now_ms() - 2_000_000})
    await world.used("f1")
    await world.idle(700, "f1")
    assert [await world.step() for _ in range(3)] == [0, 1, 0]
    assert await world.redis.zcard(world.keys.lru) == kept


async def test_a_scheduler_that_does_not_lead_stops_nothing(world: World) -> None:
    await world.used()
    await world.idle(10_000)
    await world.redis.set(world.keys.leader, "other:2")
    assert await world.step() == 0
    assert await world.exist() == 1


async def test_learning_takes_so_much_of_a_step_and_the_rest_later(world: World) -> None:
    functions = [f"g{number}" for number in range(60)]
    await asyncio.gather(
        *(world.redis.hset(world.keys.pauses(f"us-east-1/{name}"), mapping={8: COUNTED_MIN}) for name in functions)
    )
    await world.redis.sadd(world.keys.paused, *(f"us-east-1/{name}" for name in functions))
    await world.step()
    assert await world.redis.scard(world.keys.paused) == 10
    await world.step()
    assert all([await world.redis.hexists(world.keys.pauses(f"us-east-1/{name}"), "keep") for name in functions])
