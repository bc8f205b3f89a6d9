"""Provisioned environments in Redis and at workers: what there is, a place for one more, its start, and its end."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from shared.dispatch.cell.keys import Keys, epoch_field
from shared.dispatch.cell.leases import STARTS_AHEAD, Lease, Version, now_ms
from shared.dispatch.cell.metrics import DispatchCounts
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.search import Search
from shared.dispatch.cell.workers import WorkerConnections
from shared.dispatch.client.run import Run
from shared.dispatch.wire.connection import IDLE
from shared.domain.errors import NoCapacityError
from shared.domain.functions import InvokeTarget
from shared.redis.connection import RedisConnection, RedisError, Reply

log = logging.getLogger("lambdad.scheduler")


class Environments:
    """To a run that starts an environment ahead, what a cell is to an invocation: where its lease comes from.

    leadership: "" while another scheduler leads. holder: this scheduler's name. initialised: what was started and waits for
    `ready` or `discard`."""

    def __init__(
        self,
        redis: RedisConnection,
        keys: Keys,
        workers: WorkerConnections,
        holder: str,
        leadership: Callable[[], str],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._workers = workers
        self._holder = holder
        self._under_way: set[str] = set()
        self.leadership = leadership
        self.initialised: list[Lease] = []
        self.counts = DispatchCounts()
        self.searches: set[Run] = set()
        self.only = self

    async def seen(self) -> dict[str, dict[str, str]]:
        """Every provisioned environment, by version ("<function>\\n<version>") and token ("<environment>@<worker>"): "s" it
        starts, "r" it is ready, "x" it ends. Raises RedisError."""
        see = script("provision_seen")
        found = await self._redis.call(see.command((self._keys.provisioned,), self._keys.prefix), see)
        seen: dict[str, dict[str, str]] = defaultdict(dict)
        for i in range(0, len(found), 3):
            seen[found[i].decode()][found[i + 1].decode()] = found[i + 2].decode()
        return seen

    async def tidy(self, seen: dict[str, dict[str, str]]) -> None:
        """End what an earlier leader began to start, and what was told to end and may not have heard it."""
        known = self._under_way.union(lease.token for lease in self.initialised)
        lost, ending = [], []
        for tokens in seen.values():
            for token, state in tokens.items():
                if state == "s" and token not in known:
                    lost.append(token)
                elif state == "x":
                    ending.append(token)
        self._forget(lost)
        await self._workers.stop_environments(lost + ending)

    def cell_of(self, target: InvokeTarget) -> Environments:
        return self

    def take(self, target: InvokeTarget) -> Lease | None:
        return None

    async def find(self, target: InvokeTarget, search: Search) -> Lease:
        """A place whose worker is connected; there is no waiting for one, and where a start failed it is not tried at once
        again. Raises DispatchError, RedisError."""
        while True:
            if not search.elsewhere and search.last_failure is not None:
                raise search.last_failure
            search.count_attempt()
            lease = await self.place(target, search)
            if await self._workers.reach(lease, search):
                return lease

    async def place(self, target: InvokeTarget, search: Search) -> Lease:
        """A place under this leadership. Raises DispatchError, RedisError."""
        keys, provision = self._keys, script("provision")
        version = Version(target, keys, self._holder, 0)
        reply = await self._redis.call(
            provision.command(
                (keys.state, keys.lru, keys.leader, keys.provisioned_of(version.version_key)),
                *(epoch_field(self._redis.run_id), self.leadership(), version.owner, keys.prefix, search.avoid, now_ms()),
                version.memory_mb,
            ),
            provision,
        )
        if reply[0] != b"g":
            raise search.last_failure or NoCapacityError("no worker has room")
        lease = Lease(version, reply[1], STARTS_AHEAD, True, False, reply[2].decode())
        self._under_way.add(lease.token)
        return lease

    def give_back(self, lease: Lease, outcome: bytes) -> None:
        """Its start has ended, or could not be sent; what was given up is found again by whoever leads."""
        if lease.token not in self._under_way:
            return
        self._under_way.discard(lease.token)
        if outcome is IDLE:
            self.initialised.append(lease)
        else:
            self._forget([lease.token])

    def give_up(self) -> None:
        """Another scheduler leads."""
        self._under_way.clear()
        self.initialised.clear()

    async def ready(self, lease: Lease) -> bool:
        """It counts and is leased from now on; False when it is not known any more. Raises RedisError."""
        keys, make_ready = self._keys, script("provision_ready")
        version = lease.version
        reply = await self._redis.call(
            make_ready.command(
                (keys.state, keys.leader, keys.provisioned_of(version.version_key), keys.ready(version.version_key)),
                *(self.leadership(), version.owner, lease.token, keys.prefix, now_ms()),
            ),
            make_ready,
        )
        return bool(reply == 1)

    async def discard(self, lease: Lease) -> None:
        """It is not wanted any more."""
        self._forget([lease.token])
        await self._workers.stop_environments([lease.token])

    async def retire(self, owner: str, count: int) -> list[str]:
        """Take out so many of a version, idle ones first; the tokens of those. Raises RedisError."""
        keys, retire = self._keys, script("provision_retire")
        version_key = owner.partition("\n")[2]
        tokens = await self._redis.call(
            retire.command(
                (keys.leader, keys.provisioned_of(version_key), keys.ready(version_key)),
                *(self.leadership(), owner, keys.prefix, count),
            ),
            retire,
        )
        stopped = [token.decode() for token in tokens]
        await self._workers.stop_environments(stopped)
        return stopped

    def _forget(self, tokens: Iterable[str]) -> None:
        """They are gone, or nobody will use them. What Redis does not hear is found again."""
        keys, gone = self._keys, script("environment_gone")

        def on_reply(reply: Reply) -> None:
            if isinstance(reply, RedisError):
                log.info("Redis was not told that a provisioned environment is gone: %s", reply)

        for token in tokens:
            environment_id, _, worker_id = token.partition("@")
            command = gone.command((keys.state,), worker_id, environment_id, keys.prefix)
            try:
                self._redis.send(command, on_reply, gone)
            except RedisError as error:
                on_reply(error)
