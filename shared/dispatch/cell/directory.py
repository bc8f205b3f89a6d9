"""What the workers of a cell can run, for who has no other business with them."""

from __future__ import annotations

import asyncio
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.worker_record import Capabilities, decode
from shared.settings import DispatchSettings

log = logging.getLogger("lambdad.dispatch")

LOOK_TIMEOUT_S = 1.0


class WorkerDirectory:
    def __init__(self, redis: Redis, settings: DispatchSettings) -> None:
        self._redis = redis
        self._workers = Keys(settings.cell).workers

    async def capabilities(self) -> list[Capabilities]:
        """Of the workers that say what they can run; none while no worker is there, or while Redis does not answer."""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                found = await self._redis.hvals(self._workers)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("what the workers can run is not known: %s", error or type(error).__name__)
            return []
        return [
            record.capabilities
            for record in (decode(each) for each in found if isinstance(each, bytes))
            if record.capabilities is not None
        ]
