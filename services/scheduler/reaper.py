"""Who is alive: what dead holders and dead workers left behind is given back, once."""

from __future__ import annotations

import asyncio
import logging

from prometheus_client import Counter

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.scripts import script
from shared.redis.connection import RedisConnection

log = logging.getLogger("lambdad.scheduler")

REAPED = Counter("lambdad_scheduler_reaped", "Members taken for dead, by kind", ["kind"])
ORPHANS_EVERY = 15
"""Steps between two looks for leases whose holder is not listed."""
ORPHANS_SCANNED = 200


class Reaper:
    """A member is dead when Redis has not heard of it for dead_after_s.

    Redis itself may have stood still for that long, and then everyone looks dead: after any gap of its own, the reaper first
    lets the others be heard again."""

    def __init__(self, redis: RedisConnection, keys: Keys, dead_after_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._dead_after_s = dead_after_s
        self._stepped_at = float("-inf")
        self._not_before = float("inf")
        self._steps = 0

    async def step(self, leadership: str) -> None:
        """Reap who is overdue. Raises RedisError."""
        now = asyncio.get_running_loop().time()
        if now - self._stepped_at > self._dead_after_s / 2:
            self._not_before = now + self._dead_after_s
        self._stepped_at = now
        self._steps += 1
        if self._steps % ORPHANS_EVERY == 1:
            await self._list_orphans()
        if now < self._not_before:
            return
        overdue = script("overdue")
        holders, workers = await self._redis.call(
            overdue.command((self._keys.alive_holders, self._keys.alive_workers), int(self._dead_after_s * 1000)), overdue
        )
        for worker in workers:
            await self._reap_worker(worker.decode(), leadership)
        for holder in holders:
            await self._reap_holder(holder.decode(), leadership)

    def pause(self) -> None:
        """Another scheduler leads, or there is no open epoch: a later step begins afresh."""
        self._stepped_at = float("-inf")

    async def _reap_holder(self, holder: str, leadership: str) -> None:
        keys, reap = self._keys, script("reap_holder")
        leases = await self._redis.call(
            reap.command(
                (keys.state, keys.alive_holders, keys.leases(holder, "u"), keys.leases(holder, "r"), keys.lru, keys.leader),
                *(holder, leadership, keys.prefix),
            ),
            reap,
        )
        if leases >= 0:
            REAPED.labels("holder").inc()
            log.warning("%s died; %d leases were given back", holder, leases)

    async def _reap_worker(self, worker: str, leadership: str) -> None:
        keys, reap = self._keys, script("reap_worker")
        environments, leases = await self._redis.call(
            reap.command(
                (
                    *(keys.state, keys.alive_workers, keys.workers, keys.envs(worker)),
                    *(keys.alive_holders, keys.leader),
                ),
                *(worker, leadership, keys.prefix),
            ),
            reap,
        )
        if environments >= 0:
            REAPED.labels("worker").inc()
            log.warning("worker %s died with %d environments; %d leases were given back", worker, environments, leases)

    async def _list_orphans(self) -> None:
        """Holders that have leases but are not listed (taken for dead while they only slept) are listed again: they are
        heard of in time, or reaped."""
        keys = self._keys
        start = len(keys.leases("", "u")) - 2
        cursor, first = b"0", True
        seconds, microseconds = await self._redis.command("TIME")
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        while first or cursor != b"0":
            first = False
            cursor, found = await self._redis.command(
                "SCAN", cursor, "MATCH", f"{keys.prefix}leases:*", "COUNT", ORPHANS_SCANNED, "TYPE", "hash"
            )
            for key in found:
                await self._redis.command("ZADD", keys.alive_holders, "NX", now_ms, key.decode()[start:-2])
