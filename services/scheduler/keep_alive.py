"""Idle environments are stopped after a while, which each function's own pauses decide (shared/domain/pauses.py): first nobody
can lease them any more, then their worker is told."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import now_ms
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.workers import WorkerConnections
from shared.domain.pauses import BUCKETS, Bounds, Pauses
from shared.redis.connection import RedisConnection

EXPIRED = Counter("lambdad_scheduler_environments_expired", "Environments stopped because they were idle for too long")
EXPIRED_A_STEP_MAX = 200
VERSIONS_A_STEP = 500
"""Looked at in one step, of those that have not been used for a while."""
LEARNT_A_STEP_MAX = 50
"""Functions whose pauses are looked at in one step."""


class KeepAlive:
    """bounds: of how long environments are kept."""

    def __init__(self, redis: RedisConnection, keys: Keys, workers: WorkerConnections, bounds: Bounds) -> None:
        self._redis = redis
        self._keys = keys
        self._workers = workers
        self._bounds = bounds
        self._left_out = 0

    async def step(self, leadership: str) -> int:
        """Learn from new pauses; take out what has been idle for too long and stop it; returns how many. Raises RedisError."""
        await self._learn()
        keys, expire, bounds = self._keys, script("expire_idle"), self._bounds
        left_out, *tokens = await self._redis.call(
            expire.command(
                (keys.lru, keys.parked, keys.leader, keys.state),
                *(now_ms(), _ms(min(bounds.least_s, bounds.standard_s)), _ms(bounds.standard_s)),
                *(EXPIRED_A_STEP_MAX, keys.prefix, leadership, self._left_out, VERSIONS_A_STEP),
            ),
            expire,
        )
        self._left_out = int(left_out)
        EXPIRED.inc(await self._workers.stop_environments([token.decode() for token in tokens]))
        return len(tokens)

    async def _learn(self) -> None:
        for function in await self._redis.command("SPOP", self._keys.paused, LEARNT_A_STEP_MAX):
            key = self._keys.pauses(function.decode())
            pauses = _pauses(await self._redis.command("HGETALL", key))
            halved = pauses.halved()
            if halved is not None:
                await self._redis.command("HSET", key, *(word for pair in enumerate(halved.counts) for word in pair))
            keep_s = pauses.keep_s(self._bounds)
            if keep_s is None:
                await self._redis.command("HDEL", key, "keep")
            else:
                await self._redis.command("HSET", key, "keep", _ms(keep_s))


def _pauses(fields: Mapping[bytes, bytes]) -> Pauses:
    """As Redis has them: a count by the number of its bucket, among other fields."""
    return Pauses.of({number: int(fields.get(b"%d" % number, 0)) for number in range(BUCKETS)})


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
