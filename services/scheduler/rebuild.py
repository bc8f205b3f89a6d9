"""Epochs: after Redis lost its memory (wiped, restarted, failed over) the leases are rebuilt from what the workers report."""

from __future__ import annotations

import asyncio
import logging

from shared.dispatch.cell.keys import Keys, epoch_field
from shared.dispatch.cell.scripts import script
from shared.redis.connection import RedisConnection
from shared.settings import DispatchSettings

log = logging.getLogger("lambdad.scheduler")

SETTLE_HEARTBEATS = 1.5
"""How long a scheduler that knows no worker yet waits for some to report: each had a heartbeat in that time."""


class Rebuilder:
    """Begins an epoch when there is none, and opens it when every worker that lived has reported, or had its time."""

    def __init__(self, redis: RedisConnection, keys: Keys, settings: DispatchSettings) -> None:
        self._redis = redis
        self._keys = keys
        self._heartbeat_s = settings.heartbeat_s
        self._wait_s_max = settings.dead_after_s
        self._epoch = 0
        self._expected: set[bytes] = set()
        self._began_at = 0.0
        self._rebuilding = 0

    async def step(self, leadership: str) -> bool:
        """Whether an epoch is open. Raises RedisError."""
        begin = script("rebuild_begin")
        state, epoch_text = await self._redis.call(
            begin.command(
                (self._keys.state, self._keys.leader),
                *(epoch_field(self._redis.run_id), leadership, self._keys.prefix, self._epoch),
            ),
            begin,
        )
        if state == 0:
            self._epoch, self._rebuilding = int(epoch_text), 0
            self._expected = set(await self._redis.command("ZRANGE", self._keys.alive_workers, 0, -1))
            return True
        if state < 0:
            return False
        now = asyncio.get_running_loop().time()
        if self._rebuilding != int(epoch_text):
            self._rebuilding, self._began_at = int(epoch_text), now
            log.warning("rebuilding the leases under epoch %d; %d workers are expected", self._rebuilding, len(self._expected))
        if not await self._complete(now - self._began_at):
            return False
        return await self._open(leadership)

    async def _complete(self, waited_s: float) -> bool:
        if waited_s > self._wait_s_max:
            return True
        if not self._expected:
            return waited_s >= SETTLE_HEARTBEATS * self._heartbeat_s
        reported = set(await self._redis.command("HKEYS", self._keys.workers))
        return self._expected <= reported

    async def _open(self, leadership: str) -> bool:
        opening = script("rebuild_open")
        opened = await self._redis.call(
            opening.command(
                (self._keys.state, self._keys.leader),
                *(epoch_field(self._redis.run_id), leadership, self._keys.prefix, self._rebuilding),
            ),
            opening,
        )
        if opened == 1:
            log.warning("epoch %d is open", self._rebuilding)
            self._epoch, self._rebuilding = self._rebuilding, 0
        return bool(opened == 1)
