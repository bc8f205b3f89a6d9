"""Idle environments are stopped after a while: first nobody can lease them any more, then their worker is told."""

from __future__ import annotations

import logging
from collections import defaultdict

from prometheus_client import Counter

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import now_ms
from shared.dispatch.cell.redis_connection import RedisConnection
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.workers import WorkerConnections, WorkerUnreachableError

log = logging.getLogger("lambdad.scheduler")

EXPIRED = Counter("lambdad_scheduler_environments_expired", "Environments stopped because they were idle for too long")
EXPIRED_A_STEP_MAX = 200


class KeepAlive:
    """keep_alive_s: an environment idle for longer is stopped."""

    def __init__(self, redis: RedisConnection, keys: Keys, workers: WorkerConnections, keep_alive_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._workers = workers
        self._keep_alive_ms = keep_alive_s * 1000

    async def step(self, leadership: str) -> int:
        """Take out what has been idle for too long and stop it; returns how many. Raises RedisError."""
        keys, expire = self._keys, script("expire_idle")
        now = now_ms()
        tokens = await self._redis.call(
            expire.command(
                (keys.lru, keys.parked, keys.leader, keys.state),
                *(now, int(now - self._keep_alive_ms), EXPIRED_A_STEP_MAX, keys.prefix, leadership),
            ),
            expire,
        )
        by_worker: dict[str, list[str]] = defaultdict(list)
        for token in tokens:
            environment_id, _, worker_id = token.decode().partition("@")
            by_worker[worker_id].append(environment_id)
        for worker_id, environment_ids in by_worker.items():
            try:
                (await self._workers.connect(worker_id)).stop_environments(environment_ids)
                EXPIRED.inc(len(environment_ids))
            except WorkerUnreachableError as error:
                # A worker that lives reports them again, and they are expired again.
                log.warning("%d idle environments could not be stopped: %s", len(environment_ids), error)
        return len(tokens)
