"""Provisioned environments in the Lua scripts, on a real Redis: where they go, who gets them, what they count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from services.scheduler.provisioned.starts import Environments
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Answer, Lease, Leases, NoCapacity, Throttled, now_ms
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.search import Search
from shared.dispatch.cell.workers import WorkerConnections
from shared.dispatch.wire.connection import GONE, IDLE, UNCERTAIN
from shared.domain.errors import NoCapacityError
from shared.redis.connection import RedisConnection
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, target
from tests.integration.dispatch.toy_worker import until
from tests.support import PATIENCE_S

LEADER = "s:1"


@pytest.fixture
async def cell(settings: Settings, redis: Redis) -> Cell:
    """A cell without a scheduler, opened by hand, with two workers that are only names."""
    cell = Cell(settings, redis)
    await cell.open_by_hand({"w1": 5, "w2": 5})
    await redis.set(cell.keys.leader, LEADER)
    return cell


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(settings.redis_url, name="test", connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
    connection.start()
    assert await connection.wait_connected(PATIENCE_S)
    yield connection
    await connection.close()


@pytest.fixture
async def environments(connection: RedisConnection) -> AsyncIterator[Environments]:
    """Their workers cannot be reached: only what Redis does is looked at here."""
    keys = Keys("0")
    workers = WorkerConnections(
        connection,
        keys,
        secret=b"secret",
        role="scheduler",
        instance="s",
        timeout_s=1,
        on_end=lambda lease, outcome: None,
        on_lost=lambda lost: None,
    )
    yield Environments(connection, keys, workers, "s", lambda: LEADER)
    await workers.close()


def holder(connection: RedisConnection, name: str = "h", limit: int = 1_000) -> Leases:
    return Leases(connection, Keys("0"), name, account_concurrency=limit)


async def ask(leases: Leases, **of: object) -> Answer:
    return await leases.acquire(leases.version(target(**of)))  # type: ignore[arg-type]


async def granted(leases: Leases, **of: object) -> Lease:
    answer = await ask(leases, **of)
    assert isinstance(answer, Lease), answer
    return answer


async def give_back(leases: Leases, lease: Lease, outcome: bytes = IDLE) -> None:
    leases.release(lease, outcome)
    await until(lambda: lease.name not in leases._live)


def owner_of(**of: object) -> str:
    spec = target(**of).spec  # type: ignore[arg-type]
    return f"{spec.counted_as}\n{spec.version_key}"


async def placed(environments: Environments, **of: object) -> Lease:
    return await environments.place(target(**of), Search(0))  # type: ignore[arg-type]


async def provisioned(environments: Environments, count: int = 1, **of: object) -> list[str]:
    tokens = []
    for _ in range(count):
        start = await placed(environments, **of)
        assert await environments.ready(start)
        tokens.append(start.token)
    return tokens


def token_of(lease: Lease) -> str:
    return f"{lease.environment_id}@{lease.worker_id}"


async def test_a_start_takes_a_slot_and_counts_only_once_it_is_ready(cell: Cell, environments: Environments) -> None:
    start = await placed(environments)
    assert (await cell.state()).get("run:us-east-1/f1", "0") == "0"
    await cell.check()
    assert await environments.ready(start)
    assert await environments.ready(start), "saying it again changes nothing"
    assert (await cell.state())["run:us-east-1/f1"] == (await cell.state())["running:us-east-1"] == "1"
    await cell.check()
    assert await environments.seen() == {owner_of(): {start.token: "r"}}


async def test_provisioned_environments_are_leased_first_and_then_others(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    tokens = await provisioned(environments, 2)
    leases = holder(connection)
    version = leases.version(target())
    answers = [one for one in await asyncio.gather(*(leases.acquire(version) for _ in range(3))) if isinstance(one, Lease)]
    first, second, _ = answers
    assert {token_of(first), token_of(second)} == set(tokens)
    assert [lease.pool for lease in answers] == ["p", "p", "u"]
    assert [lease.cold for lease in answers] == [False, False, True]
    assert not first.sticky
    assert (await cell.state())["run:us-east-1/f1"] == "3"
    await cell.check()
    await give_back(leases, first)
    await cell.check()
    assert token_of(await granted(leases)) == token_of(first)


async def test_all_of_a_reserved_concurrency_provisioned_leaves_nothing_to_other_versions(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    await give_back(leases, await granted(leases, reserved=2, version="$LATEST"), GONE)
    await provisioned(environments, 2, reserved=2)
    assert isinstance(await ask(leases, reserved=2, version="$LATEST"), Throttled)
    assert (await granted(leases, reserved=2)).pool == "p"
    assert (await granted(leases, reserved=2)).pool == "p"
    answer = await ask(leases, reserved=2)
    assert isinstance(answer, Throttled)
    assert answer.reserved
    await cell.check()


async def test_what_became_ready_while_others_ran_never_makes_more_run_than_may(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    on_demand = [await granted(leases, reserved=3) for _ in range(2)]
    await provisioned(environments, 3, reserved=3)
    one = await granted(leases, reserved=3)
    assert one.pool == "p"
    assert isinstance(await ask(leases, reserved=3), Throttled), "two on demand and one provisioned run"
    await give_back(leases, on_demand[0])
    assert (await granted(leases, reserved=3)).pool == "p"
    assert isinstance(await ask(leases, reserved=3), Throttled)
    await cell.check()


async def test_the_accounts_pool_is_shared_with_what_is_provisioned(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection, limit=4)
    await provisioned(environments, 3)
    assert (await granted(leases, function="f2")).pool == "u"
    assert isinstance(await ask(leases, function="f2"), Throttled)
    assert (await granted(leases)).pool == "p"
    await cell.check()


async def test_reserving_concurrency_moves_what_is_provisioned_out_of_the_accounts_pool_and_back(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    await provisioned(environments, 2)
    assert (await cell.state())["running:us-east-1"] == "2"
    changed = script("function_changed")
    keys = cell.keys
    await connection.call(changed.command((keys.state,), "us-east-1/f1", 5, "4", keys.prefix), changed)
    assert (await cell.state())["running:us-east-1"] == "0"
    await cell.check()
    # A frontend that knows more than Redis does says so with its lease.
    lease = await granted(leases, revision=6)
    assert lease.pool == "p"
    assert (await cell.state())["running:us-east-1"] == "2"
    await cell.check()


async def test_no_environment_that_is_provisioned_is_evicted_or_expired(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    tokens = set(await provisioned(environments, 9))
    idle = await granted(leases, function="f2")
    await give_back(leases, idle)
    assert (await granted(leases, function="f3")).victims == (idle.environment_id,)
    assert isinstance(await ask(leases, function="f4"), NoCapacity)
    keys, expire = cell.keys, script("expire_idle")
    later = now_ms() + 3_600_000
    expired = await connection.call(
        expire.command((keys.lru, keys.parked, keys.leader, keys.state), later, 0, 0, 100, keys.prefix, LEADER, 0, 100),
        expire,
    )
    assert expired == [0]
    assert set((await environments.seen())[owner_of()]) == tokens
    await cell.check()


async def test_a_provisioned_environment_evicts_an_idle_one_where_there_is_no_other_room(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    for lease in [await granted(leases, function="f2") for _ in range(10)]:
        await give_back(leases, lease)
    start = await placed(environments)
    assert start.victims
    await cell.check()
    await provisioned(environments, 9)
    with pytest.raises(NoCapacityError):
        await placed(environments)
    await cell.check()


async def test_only_the_leader_provisions(cell: Cell, environments: Environments) -> None:
    start = await placed(environments)
    environments.leadership = lambda: "s:0"
    with pytest.raises(NoCapacityError):
        await placed(environments)
    assert not await environments.ready(start)
    environments.leadership = lambda: LEADER
    assert await environments.ready(start)
    environments.leadership = lambda: "s:0"
    assert await environments.retire(owner_of(), 1) == []
    await cell.check()


async def test_retiring_takes_idle_ones_at_once_and_busy_ones_when_they_are_done(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    tokens = await provisioned(environments, 2)
    busy = await granted(leases)
    idle = next(token for token in tokens if token != token_of(busy))
    assert await environments.retire(owner_of(), 1) == [idle]
    assert await environments.retire(owner_of(), 1) == [token_of(busy)]
    assert await environments.retire(owner_of(), 1) == []
    assert (await environments.seen())[owner_of()] == {token_of(busy): "x"}
    assert (await cell.state())["run:us-east-1/f1"] == "1"
    await cell.check()
    await give_back(leases, busy)
    assert await environments.seen() == {}
    await cell.check()
    assert await cell.no_leases()
    assert (await granted(leases)).pool == "u"


@pytest.mark.parametrize("outcome", [GONE, UNCERTAIN])
async def test_one_that_ended_counts_no_more_and_one_that_may_be_busy_rests(
    cell: Cell, connection: RedisConnection, environments: Environments, outcome: bytes
) -> None:
    leases = holder(connection)
    await provisioned(environments, 1)
    await give_back(leases, await granted(leases), outcome)
    await cell.check()
    seen = await environments.seen()
    assert bool(seen) == (outcome is UNCERTAIN)
    if outcome is UNCERTAIN:
        assert (await granted(leases)).pool == "u", "it is left alone for a second"
        keys, expire = cell.keys, script("expire_idle")
        later = now_ms() + 2_000
        await connection.call(
            expire.command(
                (keys.lru, keys.parked, keys.leader, keys.state),
                *(later, later, later, 100, keys.prefix, LEADER, 0, 100),
            ),
            expire,
        )
        assert (await granted(leases)).pool == "p"
    await cell.check()


async def test_a_dead_holder_gives_back_and_a_dead_worker_takes_along(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    tokens = await provisioned(environments, 4)
    held = await granted(leases)
    keys, reap = cell.keys, script("reap_holder")
    await connection.call(
        reap.command(
            (keys.state, keys.alive_holders, keys.leases("h", "u"), keys.leases("h", "r"), keys.lru, keys.leader),
            *("h", LEADER, keys.prefix),
        ),
        reap,
    )
    await cell.check()
    assert await cell.redis.zscore(keys.ready(target().spec.version_key), token_of(held)) is not None
    await granted(leases)
    await cell.redis.zadd(keys.alive_holders, {"h": now_ms()})
    dead = script("reap_worker")
    await connection.call(
        dead.command(
            (keys.state, keys.alive_workers, keys.workers, keys.envs("w1"), keys.alive_holders, keys.leader),
            *("w1", LEADER, keys.prefix),
        ),
        dead,
    )
    await cell.check()
    left = {token for token in tokens if token.endswith("@w2")}
    assert set((await environments.seen())[owner_of()]) == left
    assert len(left) == 2


async def test_a_draining_worker_gives_its_provisioned_environments_up(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    await provisioned(environments, 4)
    busy = [await granted(leases) for _ in range(4)]
    on_w1 = [lease for lease in busy if lease.worker_id == "w1"]
    await give_back(leases, on_w1[0])
    keys, drain = cell.keys, script("drain_worker")
    assert await connection.call(drain.command((keys.envs("w1"),), "w1", keys.prefix), drain) == 1
    await give_back(leases, on_w1[1])
    seen = (await environments.seen())[owner_of()]
    assert {token.partition("@")[2] for token in seen} == {"w2"}
    assert (await cell.state())["run:us-east-1/f1"] == "2"


async def test_workers_to_avoid_are_avoided_among_provisioned_ones_too(
    cell: Cell, connection: RedisConnection, environments: Environments
) -> None:
    leases = holder(connection)
    await provisioned(environments, 4)
    version = leases.version(target())
    answers = [await leases.acquire(version, ",w1,") for _ in range(3)]
    assert [(one.pool, one.worker_id) for one in answers if isinstance(one, Lease)] == [("p", "w2"), ("p", "w2"), ("u", "w2")]
    await cell.check()
    lease = await granted(leases)
    assert (lease.pool, lease.worker_id) == ("p", "w1")
