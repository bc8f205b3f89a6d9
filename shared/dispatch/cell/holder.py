"""What a holder of leases does besides using them: say that it lives, notice a new epoch, find what was lost."""

from __future__ import annotations

import asyncio
import logging

from shared.dispatch.cell.heartbeat import pause
from shared.dispatch.cell.keys import Keys, epoch_field
from shared.dispatch.cell.leases import Leases
from shared.dispatch.cell.scripts import script
from shared.dispatch.cell.sticky import StickyLeases
from shared.redis.connection import RedisConnection, RedisError
from shared.settings import DispatchSettings
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.dispatch")

AUDIT_EVERY = 30
"""Heartbeats between two audits without a reason."""


class Holder:
    """Heartbeats of one holder. problem: why leases cannot be had now, None when all is well."""

    def __init__(
        self, redis: RedisConnection, keys: Keys, leases: Leases, sticky: StickyLeases, settings: DispatchSettings
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._leases = leases
        self._sticky = sticky
        self._settings = settings
        self._epoch = b""
        self._beats = 0
        self._beat_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.problem: str | None = "no heartbeat yet"

    def start(self) -> None:
        self._tasks.add(supervise("holder-heartbeat", self._run, essential=True))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def connected(self) -> None:
        """Redis is there (again): heartbeat at once."""
        self._beat_now.set()

    async def leave(self) -> None:
        """Everything held is given back in one step. Never raises; a holder that could not say goodbye is reaped."""
        keys, holder = self._keys, self._leases.holder
        reap = script("reap_holder")
        try:
            await self._redis.call(
                reap.command(
                    (keys.state, keys.alive_holders, keys.leases(holder, "u"), keys.leases(holder, "r"), keys.lru, keys.leader),
                    *(holder, "", keys.prefix),
                ),
                reap,
            )
        except RedisError as error:
            log.warning("could not give everything back before leaving: %s", error)

    async def _run(self) -> None:
        while True:
            try:
                await self._beat()
            except RedisError as error:
                self.problem = f"redis: {error}"
            await pause(self._beat_now, self._settings.heartbeat_s)

    async def _beat(self) -> None:
        keys, holder = self._keys, self._leases.holder
        beat = script("holder_heartbeat")
        sent_at = asyncio.get_running_loop().time()
        epoch, known, _ = await self._redis.call(
            beat.command(
                (keys.state, keys.alive_holders, keys.leases(holder, "u"), keys.leases(holder, "r")),
                *(epoch_field(self._redis.run_id), holder),
            ),
            beat,
        )
        if epoch != self._epoch or not known:
            # Another epoch, or this holder was taken for dead: what it keeps may be leased to others now.
            self._sticky.recall()
            self._epoch = epoch
        self.problem = None if epoch else "the leases are being rebuilt"
        self._sticky.valid_until = sent_at + self._settings.dead_after_s * 0.6 if epoch else 0.0
        self._leases.repeat_releases()
        self._beats += 1
        if self._leases.audits_due or self._beats % AUDIT_EVERY == 0:
            await self._leases.audit()
