"""One leader among the schedulers of a cell, through a lock in Redis that runs out by itself.

Holding the lock is not relied on: every act of a leader carries its leadership to Redis, which refuses it once another leads.
"""

from __future__ import annotations

import logging

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.scripts import script
from shared.redis.connection import RedisConnection, RedisError

log = logging.getLogger("lambdad.scheduler")


class Leadership:
    """name: of this scheduler, unique. ttl_s: after which another scheduler may take over from one that fell silent."""

    def __init__(self, redis: RedisConnection, keys: Keys, name: str, ttl_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._name = name
        self._ttl_ms = int(ttl_s * 1000)
        self.held = ""

    async def step(self) -> str:
        """Take or keep the leadership; returns it, "" while another scheduler leads. Raises RedisError."""
        held = await self._call(self._ttl_ms)
        if held != self.held:
            log.info("this scheduler leads" if held else "another scheduler leads")
        self.held = held
        return held

    async def resign(self) -> None:
        """Let another scheduler take over at once. Never raises."""
        try:
            if self.held:
                await self._call(0)
        except RedisError:
            pass
        self.held = ""

    async def _call(self, ttl_ms: int) -> str:
        lead = script("leader")
        keys = (self._keys.leader, self._keys.leader_fence)
        reply = await self._redis.call(lead.command(keys, self._name, self.held, ttl_ms), lead)
        return str(reply.decode())
