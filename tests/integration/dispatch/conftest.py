"""A real Redis (each engine that this machine has), which a test may wipe, stop, kill and start again, and a small cell on it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from services.scheduler.main import Scheduler
from services.scheduler.provisioned.plans import Plans
from shared.dispatch.cell.keys import Keys, epoch_field
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.worker_record import Capabilities
from shared.dispatch.client.dispatcher import Dispatcher
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.settings import DispatchSettings, Settings
from tests.integration.dispatch.toy_worker import Tally, ToyWorker, until
from tests.integration.redis_process import RedisProcess, engines, running


@pytest.fixture(scope="session", params=engines())
def redis_process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    yield from running(request.param, tmp_path_factory.mktemp("redis"))


@pytest.fixture
async def redis(redis_process: RedisProcess) -> AsyncIterator[Redis]:
    if redis_process.process is None:
        redis_process.start()
    retry = Retry(ExponentialBackoff(cap=0.1, base=0.01), 20)
    client = Redis.from_url(redis_process.url, retry=retry, retry_on_error=[RedisConnectionError])
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def settings(redis_process: RedisProcess) -> Settings:
    return Settings(
        REDIS_URL=redis_process.url,
        cluster_secret="a secret of this test cluster",
        dispatch=DispatchSettings(heartbeat_s=0.1, dead_after_s=1.0, redis_timeout_s=5.0),
    )


class Cell:
    """A scheduler, workers and dispatchers, started on demand and ended with the test."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.settings = settings
        self.redis = redis
        self.keys = Keys(settings.dispatch.cell)
        self.tally = Tally()
        self.workers: list[ToyWorker] = []
        self.dispatchers: list[Dispatcher] = []
        self.schedulers: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    async def scheduler(self, plans: Plans | None = None) -> asyncio.Task[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(Scheduler(self.settings, plans).run(stop))
        self.schedulers.append((task, stop))
        return task

    async def worker(
        self,
        worker_id: str = "w1",
        slots: int = 10,
        *,
        run_s: float = 0.0,
        secret: str = "",
        capabilities: Capabilities | None = None,
        memory_mb: int | None = None,
    ) -> ToyWorker:
        worker = ToyWorker(
            self.settings,
            worker_id,
            slots,
            run_s=run_s,
            protocol_secret=secret,
            tally=self.tally,
            capabilities=capabilities,
            memory_mb=memory_mb,
        )
        await worker.start()
        self.workers.append(worker)
        return worker

    async def dispatcher(self, role: str = "frontend", settings: Settings | None = None) -> Dispatcher:
        dispatcher = Dispatcher(settings or self.settings, role=role)
        await dispatcher.open()
        self.dispatchers.append(dispatcher)
        await until(lambda: dispatcher.problem() is None)
        return dispatcher

    async def open_by_hand(self, workers: dict[str, int], memory_mb: int = 1_000_000) -> None:
        """An epoch, and workers that are only names: so many slots each, and as much memory."""
        field = epoch_field((await self.redis.info("server"))["run_id"])
        await self.redis.hset(self.keys.state, field, "1000")
        for worker, slots in workers.items():
            await self.report(worker, slots, memory_mb)

    async def report(self, worker: str, slots: int, memory_mb: int) -> None:
        """As a worker does that holds no environment, under the epoch that was opened by hand."""
        keys = self.keys
        field = epoch_field((await self.redis.info("server"))["run_id"])
        names = (keys.state, keys.alive_workers, keys.workers, keys.envs(worker), keys.lru)
        record = f"127.0.0.1:1 {slots}"
        reply = await self.redis.eval(
            script("report").body, len(names), *names, field, 1000, worker, record, slots, memory_mb, keys.prefix, 1, 0
        )
        assert reply[0] >= 0

    async def state(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in (await self.redis.hgetall(self.keys.state)).items()}

    async def leases(self) -> list[str]:
        found: list[str] = []
        async for key in self.redis.scan_iter(self.keys.prefix + "leases:*"):
            found += [name.decode() for name in await self.redis.hkeys(key)]
        return found

    async def no_leases(self) -> bool:
        state = await self.state()
        held = sum(int(v) for k, v in state.items() if k.startswith("held:"))
        counts = sum(int(v) for k, v in state.items() if k.startswith("run:"))
        account = sum(int(v) for k, v in state.items() if k.startswith("running:"))
        return not await self.leases() and counts == held and account <= held

    async def has_epoch(self) -> bool:
        """Whether one of the present run of Redis is open: before it, all is being forgotten."""
        return epoch_field((await self.redis.info("server"))["run_id"]) in await self.state()

    async def check(self) -> None:
        """Counts agree with the leases, slots with the environments, and nothing is both idle and leased."""
        state, leases = await self.state(), await self.leases()
        by_function: dict[str, int] = {}
        accounts: Counter[str] = Counter()
        await self._check_provisioned(state, by_function)
        for function, count in by_function.items():
            accounts[function.partition("/")[0]] += 0 if state.get(f"res:{function}") else count
        async for key in self.redis.scan_iter(self.keys.prefix + "leases:*"):
            for owner in [] if key.endswith(b":p") else await self.redis.hvals(key):
                function = owner.decode().partition("\n")[0]
                by_function[function] = by_function.get(function, 0) + 1
                accounts[function.partition("/")[0]] += key.endswith(b":u")
        counted = Counter({field[8:]: int(count) for field, count in state.items() if field.startswith("running:")})
        assert counted == accounts, (state, leases)
        for field, count in state.items():
            if field.startswith("run:"):
                assert int(count) == by_function.get(field[4:], 0), (field, count, leases)
        await self._check_room()
        leased = {name.partition("#")[0] for name in leases}
        assert len(leased) == len(leases), "an environment is leased twice"
        idle_keys = [key for kind in ("idle", "ready") async for key in self.redis.scan_iter(f"{self.keys.prefix}{kind}:*")]
        for key in idle_keys:
            idle = {token.decode() for token in await self.redis.zrange(key, 0, -1)}
            assert not idle & leased, "an environment is idle and leased"

    async def _check_room(self) -> None:
        keys, room = self.keys, await self.redis.hgetall(self.keys.room)
        sums = [int(room.pop(field, 0)) for field in (b"*free", b"*all")]
        free, all_of = {}, {}
        for worker_id, known in room.items():
            slots, free[worker_id], all_of[worker_id] = map(int, known.split())
            there = await self.redis.hvals(keys.envs(worker_id.decode()))
            record = await self.redis.hget(keys.workers, worker_id)
            assert slots == int(record.split()[1]) - len(there)
            assert free[worker_id] == all_of[worker_id] - sum(int(each.rpartition(b"\n")[2]) for each in there)
            assert await self.redis.zscore(keys.free, worker_id) == (free[worker_id] if slots > 0 else None)
        assert sums == [sum(free.values()), sum(all_of.values())]
        assert set(await self.redis.zrange(keys.free, 0, -1)) <= set(room)
        assert {place.partition(b"@")[2] for place in await self.redis.zrange(keys.ring, 0, -1)} == set(room)

    async def _check_provisioned(self, state: dict[str, str], by_function: dict[str, int]) -> None:
        """Adds what is held to `by_function`."""
        for owner in await self.redis.smembers(self.keys.provisioned):
            function, _, version = owner.decode().partition("\n")
            known = await self.redis.hgetall(self.keys.provisioned_of(version))
            assert known, f"{version} is listed and has no provisioned environment"
            counted = sum(value != b"s" for value in known.values())
            assert int(state.get(f"prov:{version}", 0)) == counted, (state, known)
            by_function[function] = by_function.get(function, 0) + counted
            for token in known:
                environment, _, worker = token.decode().partition("@")
                there = await self.redis.hget(self.keys.envs(worker), environment)
                assert there.rpartition(b"\n")[0] == owner
            assert set(await self.redis.zrange(self.keys.ready(version), 0, -1)) <= set(known)
        held = {field[5:]: int(count) for field, count in state.items() if field.startswith("held:")}
        assert held == {function: count for function, count in by_function.items() if count}

    async def close(self) -> None:
        for dispatcher in self.dispatchers:
            await dispatcher.close()
        for worker in self.workers:
            await worker.kill()
        for task, stop in self.schedulers:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)
        for worker in self.workers:
            assert not worker.violations.found


@pytest.fixture
async def cell(settings: Settings, redis: Redis) -> AsyncIterator[Cell]:
    cell = Cell(settings, redis)
    await cell.scheduler()
    yield cell
    await cell.close()


def target(
    function: str = "f1",
    version: str = "1",
    *,
    revision: int = 1,
    reserved: int | None = None,
    timeout_s: int = 3,
    region: str = "us-east-1",
    memory_mb: int = 128,
) -> InvokeTarget:
    spec = VersionSpec(
        version_key=f"{function}:{version}",
        function_id=function,
        function_name=function,
        function_arn=f"arn:aws:lambda:{region}:000000000000:function:{function}",
        version=version,
        account_id="000000000000",
        region=region,
        runtime="python3.12",
        handler="app.handler",
        code_sha256="0" * 64,
        memory_mb=memory_mb,
        timeout_s=timeout_s,
        tmp_mb=512,
        environment={},
        role_arn="arn:aws:iam::000000000000:role/r",
        log_group=f"/aws/lambda/{function}",
    )
    return InvokeTarget(spec, revision, spec.function_arn, None, reserved, "Active", EventInvokeConfig())
