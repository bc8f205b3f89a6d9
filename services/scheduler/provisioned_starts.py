"""One provisioned environment: a place for it, its start at the worker, and its end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Version, now_ms
from shared.dispatch.cell.redis_connection import RedisConnection, RedisError
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.workers import WorkerConnections, WorkerUnreachableError
from shared.dispatch.wire.connection import InvocationRefusedError, NotSentError
from shared.dispatch.wire.messages import InvokeHeader, RefusalReason
from shared.domain.errors import InvocationLostError
from shared.domain.functions import InvokeTarget
from shared.domain.provisioned import INIT_FAILURE, init_limit_s

log = logging.getLogger("lambdad.scheduler")

MARGIN_S = 10.0
"""What a worker gets beyond the initialisation: to fetch the code, to wait for other starts, to answer."""
ELSEWHERE = (RefusalReason.NO_ROOM, RefusalReason.DRAINING)


class Outcome(msgspec.Struct, frozen=True):
    """prepared: it has initialised and waits. failure: AWS's reason when the function is at fault, or when no worker could ever
    start it; neither: it may work the next time. avoid: not at this worker, for a while."""

    prepared: bool = False
    failure: str = ""
    avoid: bool = False


class Start:
    """One environment on its way."""

    __slots__ = ("lease", "owner", "target", "task")

    def __init__(self, owner: str, target: InvokeTarget, lease: Lease) -> None:
        self.owner = owner
        self.target = target
        self.lease = lease
        self.task: asyncio.Task[Outcome] | None = None

    @property
    def token(self) -> str:
        return f"{self.lease.environment_id}@{self.lease.worker_id}"


class Environments:
    """What the scheduler does to provisioned environments in Redis and at workers."""

    def __init__(self, redis: RedisConnection, keys: Keys, workers: WorkerConnections, name: str) -> None:
        self._redis = redis
        self._keys = keys
        self._workers = workers
        self._name = name

    async def seen(self) -> dict[str, dict[str, str]]:
        """Every provisioned environment, by version ("<function>\\n<version>") and token ("<environment>@<worker>"): "s" it
        starts, "r" it is ready, "x" it ends. Raises RedisError."""
        see = script("provision_seen")
        found = await self._redis.call(see.command((self._keys.provisioned,), self._keys.prefix), see)
        seen: dict[str, dict[str, str]] = defaultdict(dict)
        for i in range(0, len(found), 3):
            seen[found[i].decode()][found[i + 1].decode()] = found[i + 2].decode()
        return seen

    async def place(self, owner: str, target: InvokeTarget, leadership: str, avoid: str) -> Start | None:
        """A place for one more, None when there is none now. Raises RedisError."""
        keys, provision = self._keys, script("provision")
        version = Version(target, keys, self._name, 0)
        reply = await self._redis.call(
            provision.command(
                (keys.state, keys.free, keys.lru, keys.leader, keys.provisioned_of(version.version_key)),
                *(f"epoch:{self._redis.run_id}", leadership, owner, keys.prefix, avoid, now_ms()),
            ),
            provision,
        )
        if reply[0] != b"g":
            return None
        return Start(owner, target, Lease(version, reply[1], "p", True, False, reply[2].decode()))

    async def start(self, start: Start) -> Outcome:
        """Have the worker start and initialise it. Never raises, but when it is cancelled: so is the start then."""
        lease, spec = start.lease, start.target.spec
        limit_s = init_limit_s(spec.timeout_s) + MARGIN_S
        header = InvokeHeader(
            lease.epoch,
            lease.fence,
            lease.environment_id,
            spec.version_key,
            str(uuid.uuid4()),
            start.target.invoked_arn,
            int((time.time() + limit_s) * 1000),
            0,
            spec=spec,
            evict=(lease.victim,) if lease.victim else (),
            prepare=True,
        )
        try:
            connection = await self._workers.connect(lease.worker_id)
            result, _ = await connection.answered(lease, header, b"", limit_s)
        except InvocationRefusedError as error:
            return await self._refused(start, error)
        except (WorkerUnreachableError, NotSentError, InvocationLostError) as error:
            log.info("a provisioned environment did not start at %s: %s", lease.worker_id, error)
            await self.forget([start.token])
            return Outcome(avoid=True)
        if result.reusable and result.function_error is None:
            return Outcome(prepared=True)
        log.warning("%s does not initialise (%s)", start.target.spec.function_arn, result.function_error)
        await self.forget([start.token])
        return Outcome(failure=INIT_FAILURE)

    async def _refused(self, start: Start, error: InvocationRefusedError) -> Outcome:
        await self.forget([start.token])
        refusal = error.refusal
        if refusal.reason is RefusalReason.UNSUPPORTED_RUNTIME:
            return Outcome(failure=f"The runtime {start.target.spec.runtime} is not installed", avoid=True)
        if refusal.reason in ELSEWHERE:
            return Outcome(avoid=True)
        if refusal.reason is RefusalReason.PACKAGE_REFUSED:
            return Outcome(failure=f"The deployment package could not be unzipped: {refusal.detail}")
        if refusal.reason is RefusalReason.FAILED:
            return Outcome(failure=f"The execution environment could not be started: {refusal.detail}")
        return Outcome()

    async def ready(self, start: Start, leadership: str) -> bool:
        """It counts and is leased from now on; False when it is not known any more. Raises RedisError."""
        keys, make_ready = self._keys, script("provision_ready")
        version_key = start.target.spec.version_key
        reply = await self._redis.call(
            make_ready.command(
                (keys.state, keys.leader, keys.provisioned_of(version_key), keys.ready(version_key)),
                *(leadership, start.owner, start.token, keys.prefix, now_ms()),
            ),
            make_ready,
        )
        return bool(reply == 1)

    async def retire(self, owner: str, count: int, leadership: str) -> list[str]:
        """Take out so many of a version, idle ones first; the tokens of those. Raises RedisError."""
        keys, retire = self._keys, script("provision_retire")
        version_key = owner.partition("\n")[2]
        tokens = await self._redis.call(
            retire.command(
                (keys.leader, keys.free, keys.provisioned_of(version_key), keys.ready(version_key)),
                *(leadership, owner, keys.prefix, count),
            ),
            retire,
        )
        stopped = [token.decode() for token in tokens]
        await self.stop(stopped)
        return stopped

    async def stop(self, tokens: Iterable[str]) -> None:
        """Tell the workers. Never raises: a worker that lives reports what it still has."""
        by_worker: dict[str, list[str]] = defaultdict(list)
        for token in tokens:
            environment_id, _, worker_id = token.partition("@")
            by_worker[worker_id].append(environment_id)
        for worker_id, environment_ids in by_worker.items():
            try:
                (await self._workers.connect(worker_id)).stop_environments(environment_ids)
            except WorkerUnreachableError as error:
                log.info("%d provisioned environments could not be stopped: %s", len(environment_ids), error)

    async def forget(self, tokens: Iterable[str]) -> None:
        """They are gone, or nobody will use them. Never raises: what Redis does not hear is found again."""
        keys, gone = self._keys, script("environment_gone")
        for token in tokens:
            environment_id, _, worker_id = token.partition("@")
            try:
                await self._redis.call(
                    gone.command((keys.state, keys.envs(worker_id), keys.free), worker_id, environment_id, keys.prefix), gone
                )
            except RedisError as error:
                log.info("Redis was not told that a provisioned environment is gone: %s", error)
