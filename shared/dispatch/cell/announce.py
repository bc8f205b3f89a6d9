"""What the control plane tells the cell right after its commit, so that the next invoke anywhere sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.dispatch.cell.deployment import Deployment
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.retirement import Retirement
from shared.dispatch.cell.scripts import script
from shared.settings import DispatchSettings

log = logging.getLogger("lambdad.dispatch")

ANNOUNCE_TIMEOUT_S = 1.0


class Announcer:
    """Announcements never fail a control-plane write: when Redis is away they are dropped after a second, and every cache's
    time to live, with the revisions that later acquires carry, brings the news instead."""

    def __init__(self, redis: Redis, settings: DispatchSettings | None = None) -> None:
        self._redis = redis
        self._keys = Keys((settings or DispatchSettings()).cell)

    async def function_changed(self, function: str, revision: int, reserved_concurrency: int | None) -> None:
        """A function has a new revision: targets of older ones are stale. Returns when Redis has it, or gave no answer.

        function: as its runs are counted (`counted_as`).
        """
        reserved = "" if reserved_concurrency is None else str(reserved_concurrency)
        await self._announce("function_changed", function, str(revision), reserved, self._keys.prefix)

    async def retired(self, retirement: Retirement) -> None:
        """Environments of versions that are gone may end. After `function_changed`, so that nobody leases them any more."""
        await self._within_reason("retired", self._redis.publish(self._keys.events, f"retired {retirement.encode()}"))

    async def deployed(self, deployment: Deployment) -> None:
        """A version can be invoked from now on: workers may get ready for that."""
        await self._within_reason("deployed", self._redis.publish(self._keys.events, b"deployed " + deployment.encode()))

    async def account_changed(self, unreserved_limits: Mapping[str, int]) -> None:
        """The concurrency that functions without reserved concurrency share, by region, has changed."""
        limits = (text for region, limit in unreserved_limits.items() for text in (region, str(limit)))
        await self._announce("account_changed", self._keys.prefix, *limits)

    async def urls_changed(self, function_id: str) -> None:
        """Who may reach a function by its URLs, or how, has changed. Returns when Redis has passed it on, or gave no answer."""
        await self._within_reason("urls_changed", self._redis.publish(self._keys.events, f"urls {function_id}"))

    async def _announce(self, name: str, *arguments: str) -> None:
        await self._within_reason(name, self._redis.eval(script(name).body.decode(), 1, self._keys.state, *arguments))

    async def _within_reason(self, name: str, telling: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                await telling
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("%s was not announced (it is found out within the caches' time to live): %s", name, error)
