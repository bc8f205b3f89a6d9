"""The Lua scripts by themselves, on a real Redis: what they answer and what they count, in any order of events."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.dispatch.cell.announce import Announcer
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Leases, NoCapacity, Rebuilding, Stale, Throttled
from shared.dispatch.cell.scripts import script
from shared.dispatch.wire.connection import GONE, IDLE, UNCERTAIN
from shared.redis.connection import RedisConnection, RedisError
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, RedisProcess, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S


@pytest.fixture
async def cell(settings: Settings, redis: Redis) -> Cell:
    """A cell without a scheduler, opened by hand, with two workers that are only names."""
    cell = Cell(settings, redis)
    await cell.open_by_hand({"w1": 5, "w2": 5})
    return cell


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(settings.redis_url, name="test", connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    yield connection
    await connection.close()


def holder(connection: RedisConnection, name: str = "h", limit: int = 1_000) -> Leases:
    return Leases(connection, Keys("0"), name, account_concurrency=limit)


async def granted(leases: Leases, **of: object) -> Lease:
    answer = await leases.acquire(leases.version(target(**of)))  # type: ignore[arg-type]
    assert isinstance(answer, Lease), answer
    return answer


async def settled(leases: Leases) -> None:
    await until(lambda: not leases._live)


async def test_the_newest_idle_environment_is_leased_first(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    first, second = await granted(leases), await granted(leases)
    for lease in (second, first):
        leases.release(lease, IDLE)
        await settled_but(leases, lease)
        await asyncio.sleep(0.003)
    assert (await granted(leases)).environment_id == first.environment_id


async def settled_but(leases: Leases, lease: Lease) -> None:
    await until(lambda: lease.name not in leases._live)


async def test_fences_only_grow(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    fences = [(lease.epoch, lease.fence) for lease in [await granted(leases) for _ in range(5)]]
    assert fences == sorted(set(fences))


async def test_many_leases_asked_for_at_once_are_counted_one_by_one(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    version = leases.version(target(reserved=7))
    answers = await asyncio.gather(*(leases.acquire(version) for _ in range(10)))
    assert sum(isinstance(answer, Lease) for answer in answers) == 7
    assert [answer for answer in answers if not isinstance(answer, Lease)] == [Throttled(True, answers[-1].retry)] * 3
    await cell.check()
    for lease in answers:
        if isinstance(lease, Lease):
            leases.release(lease, IDLE)
    await settled(leases)
    assert await cell.no_leases()
    await cell.check()


async def test_releasing_twice_counts_once(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    kept, returned = await granted(leases), await granted(leases)
    for outcome in (IDLE, IDLE, GONE, UNCERTAIN):
        leases.release(returned, outcome)
    await until(lambda: leases._live == {kept.name})
    assert (await cell.state())["running:us-east-1"] == "1"
    await cell.check()


async def test_a_lease_that_nobody_waits_for_any_more_is_given_back(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    future = leases.acquire(leases.version(target()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    future.cancel()
    await until(cell.no_leases)
    await settled(leases)
    await cell.check()


async def test_a_full_cell_evicts_the_least_recently_used_and_then_has_no_room(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    used = [await granted(leases, function=f"f{i}") for i in range(10)]
    assert isinstance(await leases.acquire(leases.version(target("new"))), NoCapacity)
    for lease in (used[4], used[2]):
        leases.release(lease, IDLE)
        await settled_but(leases, lease)
        await asyncio.sleep(0.003)
    first, second = await granted(leases, function="new"), await granted(leases, function="new")
    assert (first.victims, second.victims) == ((used[4].environment_id,), (used[2].environment_id,))
    assert first.worker_id == used[4].worker_id
    assert isinstance(await leases.acquire(leases.version(target("new"))), NoCapacity)
    await cell.check()


async def test_workers_to_avoid_are_avoided(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    lease = await granted(leases)
    leases.release(lease, IDLE)
    await settled(leases)
    elsewhere = await leases.acquire(leases.version(target()), f",{lease.worker_id},")
    assert isinstance(elsewhere, Lease)
    assert elsewhere.worker_id != lease.worker_id
    assert isinstance(await leases.acquire(leases.version(target()), ",w1,w2,"), NoCapacity)
    await cell.check()


async def test_an_older_revision_is_stale_and_a_newer_one_is_learnt(cell: Cell, connection: RedisConnection) -> None:
    leases = holder(connection)
    await granted(leases, revision=5)
    assert await leases.acquire(leases.version(target(revision=4))) == Stale(5)
    await granted(leases, revision=6, reserved=2)
    answer = await leases.acquire(leases.version(target(revision=6, reserved=2)))
    assert isinstance(answer, Throttled)


async def test_without_an_epoch_of_this_redis_nothing_is_leased(cell: Cell, connection: RedisConnection, redis: Redis) -> None:
    leases = holder(connection)
    state = await redis.hgetall(cell.keys.state)
    await redis.delete(cell.keys.state)
    await redis.hset(
        cell.keys.state, mapping={b"epoch:another-run": b"999", **{k: v for k, v in state.items() if b"epoch" not in k}}
    )
    assert isinstance(await leases.acquire(leases.version(target())), Rebuilding)


async def test_a_forgotten_script_is_sent_again(cell: Cell, connection: RedisConnection, redis: Redis) -> None:
    await redis.script_flush()
    leases = holder(connection)
    lease = await granted(leases)
    leases.release(lease, IDLE)
    await settled(leases)


async def test_a_redis_that_stands_still_is_given_up_within_the_timeout(
    redis_process: RedisProcess, settings: Settings, redis: Redis
) -> None:
    connection = RedisConnection(settings.redis_url, name="test", connect_timeout_s=PATIENCE_S, timeout_s=0.3)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    assert redis_process.process is not None
    redis_process.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(RedisError):
                await connection.command("PING")
    finally:
        redis_process.process.send_signal(signal.SIGCONT)
    await until(lambda: connection.connected)
    assert await connection.command("PING") == b"PONG"
    await connection.close()


async def test_a_lost_connection_fails_what_waits_and_comes_back(
    redis_process: RedisProcess, settings: Settings, redis: Redis
) -> None:
    connection = RedisConnection(settings.redis_url, name="test", connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    first = connection.run_id
    calls = [asyncio.create_task(connection.command("BLPOP", "nothing", 0)) for _ in range(3)]
    await asyncio.sleep(0.05)
    redis_process.kill()
    assert all(isinstance(e, RedisError) for e in await asyncio.gather(*calls, return_exceptions=True))
    redis_process.start()
    await until(lambda: connection.connected and connection.run_id != first)
    await connection.close()


async def test_an_account_has_its_concurrency_in_each_region(cell: Cell, connection: RedisConnection, redis: Redis) -> None:
    leases = holder(connection, limit=2)
    here = [await granted(leases) for _ in range(2)]
    assert isinstance(await leases.acquire(leases.version(target())), Throttled)
    elsewhere = leases.version(target("f2", region="eu-west-1"))
    found = [await leases.acquire(elsewhere) for _ in range(3)]
    assert [type(one) for one in found] == [Lease, Lease, Throttled]
    await cell.check()
    # A limit that was announced is of its region alone.
    await Announcer(redis).account_changed({"us-east-1": 3, "eu-west-1": 2})
    here.append(await granted(leases))
    assert isinstance(await leases.acquire(elsewhere), Throttled)
    for lease in (*here, *(one for one in found if isinstance(one, Lease))):
        leases.release(lease, IDLE)
    await settled(leases)
    await cell.check()


async def test_counts_agree_after_any_interleaving(cell: Cell, connection: RedisConnection) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    holders = [holder(connection, f"h{i}", limit=6) for i in range(3)]
    limits: dict[str, int | None] = {"a": 2, "b": 3, "c": None, "d": None}
    regions = ("us-east-1", "eu-west-1")
    held: list[tuple[Leases, Lease]] = []
    reap = script("reap_holder")
    for step in range(300):
        what = chance.random()
        if what < 0.5:
            mine = chance.choice(holders)
            function = chance.choice(list(limits))
            region = chance.choice(regions)
            of = target(f"{function}@{region}", chance.choice("12"), reserved=limits[function], region=region)
            version = mine.version(of)
            answers = await asyncio.gather(*(mine.acquire(version) for _ in range(chance.randrange(1, 4))))
            held += [(mine, answer) for answer in answers if isinstance(answer, Lease)]
        elif what < 0.95 and held:
            for _ in range(chance.randrange(1, 4)):
                if held:
                    mine, lease = held.pop(chance.randrange(len(held)))
                    mine.release(lease, chance.choice([IDLE, IDLE, IDLE, GONE, UNCERTAIN]))
        elif what >= 0.98:
            dead = chance.choice(holders)
            held = [(mine, lease) for mine, lease in held if mine is not dead]
            keys = cell.keys
            names = (keys.state, keys.alive_holders, keys.leases(dead.holder, "u"), keys.leases(dead.holder, "r"))
            await connection.call(reap.command((*names, keys.lru, keys.leader), dead.holder, "", keys.prefix), reap)
        running: dict[str, int] = {}
        for _, lease in held:
            running[lease.version.function] = running.get(lease.version.function, 0) + 1
        for region in regions:
            here = {f: running.get(f"{region}/{f}@{region}", 0) for f in limits}
            assert all(here[f] <= limit for f, limit in limits.items() if limit is not None), seed
            assert sum(count for f, count in here.items() if limits[f] is None) <= 6, seed
        if step % 20 == 0:
            await connection.command("PING")
            await cell.check()
    for mine, lease in held:
        mine.release(lease, IDLE)
    for mine in holders:
        mine.repeat_releases()
    await until(cell.no_leases)
    await cell.check()
