"""What a worker learns of its cluster's engines and workers, to keep its functions from them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.dispatch.cell.cluster_addresses import WORKERS_MAX, ClusterAddresses
from shared.dispatch.cell.engines import TOLD_FOR_S, EngineAnnouncer, as_others_see, own_addresses
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.membership import WorkerMembership
from shared.redis.connection import RedisConnection, RedisError
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, RedisProcess
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S

KEYS = Keys("0")
TOLD = {("10.0.0.9", 5432), ("10.0.0.9", 6379), ("10.0.0.8", 7000), ("10.0.0.7", 9092), ("10.0.0.6", 19092)}


@pytest.fixture
def cell(settings: Settings, redis: Redis) -> Cell:
    """Without a scheduler, which would give up workers that are only names."""
    return Cell(settings, redis)


@pytest.fixture
async def known(settings: Settings, redis: Redis) -> AsyncIterator[ClusterAddresses]:
    """As a worker has it, which is told of Redis alone."""
    connection = RedisConnection(
        settings.redis_url,
        name="asker",
        connect_timeout_s=PATIENCE_S,
        timeout_s=PATIENCE_S,
        channel=KEYS.events,
        on_published=lambda message: found.heard(message),
        on_connected=lambda: found.connected(),
    )
    found = ClusterAddresses(connection, KEYS)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    yield found
    await connection.close()


def announcer(redis: Redis) -> EngineAnnouncer:
    settings = Settings(
        redis_url="redis://:pw@10.0.0.9:6379/0",
        queues_redis_url="redis://10.0.0.8:7000/0",
        database_url="postgresql://lambdad@10.0.0.9/lambdad",
        kafka_bootstrap_servers="10.0.0.7:9092",
    )
    return EngineAnnouncer(redis, settings, lambda: [("10.0.0.6", 19_092)])


async def test_a_frontends_engines_are_known_with_the_brokers_that_kafka_advertises(
    redis: Redis, known: ClusterAddresses
) -> None:
    assert (await known.look()).engines == set()
    known.news.clear()
    await announcer(redis).tell()
    async with asyncio.timeout(PATIENCE_S):
        await known.news.wait()
    assert (await known.look()).engines == TOLD


async def test_what_nobody_says_any_more_is_forgotten_after_a_day(redis: Redis, known: ClusterAddresses) -> None:
    a_day_ago = time.time() - TOLD_FOR_S
    await redis.zadd(KEYS.engines, {"10.0.0.1 5432": a_day_ago - 60, "10.0.0.2 5432": a_day_ago + 3_600})
    assert (await known.look()).engines == {("10.0.0.2", 5432)}
    await announcer(redis).tell()
    assert await redis.zscore(KEYS.engines, "10.0.0.1 5432") is None
    assert (await known.look()).engines == {*TOLD, ("10.0.0.2", 5432)}


async def test_a_redis_that_lost_everything_opens_nothing(redis: Redis, known: ClusterAddresses) -> None:
    await announcer(redis).tell()
    await known.look()
    await redis.flushall()
    assert (await known.look()).engines == TOLD


async def test_workers_are_known_as_they_come_and_go(cell: Cell, known: ClusterAddresses) -> None:
    """All of them at first, then each that is heard of: the one on a Unix socket has no address that others reach."""
    await cell.open_by_hand({"w1": 1, "w2": 1})
    await cell.redis.hset(KEYS.workers, mapping={"w1": "10.0.1.1:9100 1", "w2": "[fd00::2]:9100 1", "w3": "unix:w3 1"})
    assert (await known.look()).workers == {("10.0.1.1", 9100), ("fd00::2", 9100)}

    await cell.redis.hset(KEYS.workers, mapping={"w4": "worker-4.test:9100 1 x86_64 python3.12"})
    await cell.redis.publish(KEYS.events, "joined w4")
    await comes_to(known, {("10.0.1.1", 9100), ("fd00::2", 9100), ("worker-4.test", 9100)})

    await cell.redis.hdel(KEYS.workers, "w1")
    await cell.redis.publish(KEYS.events, "lost w1")
    await comes_to(known, {("fd00::2", 9100), ("worker-4.test", 9100)})


async def test_of_very_many_workers_as_many_are_known_as_can_be_refused(cell: Cell, known: ClusterAddresses) -> None:
    await cell.redis.hset(KEYS.workers, mapping={f"w{number}": f"10.0.0.1:{number} 1" for number in range(1, 3 * WORKERS_MAX)})
    found = (await known.look()).workers
    assert WORKERS_MAX // 2 < len(found) <= WORKERS_MAX
    assert found <= {("10.0.0.1", number) for number in range(1, 3 * WORKERS_MAX)}


async def test_a_worker_joins_once_it_has_done_what_comes_first(cell: Cell, settings: Settings) -> None:
    """So that no function runs before its network is closed where it has to be."""
    await cell.open_by_hand({})
    began, ends, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    attempts = []

    async def comes_first() -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise RedisError("not now")
        began.set()
        await ends.wait()

    membership = WorkerMembership(settings, "late", "127.0.0.1:1", 5, None, list, before_joining=comes_first)
    running = asyncio.create_task(membership.run(stop))
    async with asyncio.timeout(PATIENCE_S):
        await began.wait()
    assert attempts == [0, 1]
    assert await cell.redis.hget(KEYS.workers, "late") is None
    assert membership.problem is not None
    ends.set()
    await until(lambda: membership.problem is None)
    assert await cell.redis.hget(KEYS.workers, "late") is not None
    stop.set()
    await running
    await membership.leave()


async def test_what_was_not_heard_while_redis_was_away_is_read_again(
    cell: Cell, redis_process: RedisProcess, known: ClusterAddresses
) -> None:
    await cell.redis.hset(KEYS.workers, "w1", "10.0.1.1:9100 1")
    assert (await known.look()).workers == {("10.0.1.1", 9100)}
    redis_process.kill()
    redis_process.start()
    await cell.redis.delete(KEYS.workers)
    await cell.redis.hset(KEYS.workers, "w2", "10.0.1.2:9100 1")
    await comes_to(known, {("10.0.1.2", 9100)})


async def comes_to(known: ClusterAddresses, wanted: set[tuple[str, int]]) -> None:
    async def they_are() -> bool:
        try:
            return (await known.look()).workers == wanted
        except RedisError:
            return False

    await until(they_are)


def test_an_engine_on_loopback_is_told_by_the_addresses_that_others_reach_its_host_by(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    own = own_addresses(tmp_path)
    assert own == {"192.0.2.2", "fd00::2"}
    found = as_others_see([("127.0.0.1", 5432), ("::1", 5433), ("10.0.0.9", 6379)], own)
    assert found == {("192.0.2.2", 5432), ("fd00::2", 5432), ("192.0.2.2", 5433), ("fd00::2", 5433), ("10.0.0.9", 6379)}
    assert own_addresses(tmp_path / "nothing") == set()


FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""
IF_INET6 = """00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 02 40 00 80     eth0
fe8000000000000000fc00fffe000001 02 40 20 80     eth0
"""
