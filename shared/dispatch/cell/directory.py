"""What the workers of a cell can run, for who has no other business with them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.worker_record import Capabilities, decode
from shared.settings import DispatchSettings

log = logging.getLogger("lambdad.dispatch")

LOOK_TIMEOUT_S = 1.0
KNOWN_S = 1.0
"""So long what was found is not asked for again: thousands of workers are a megabyte."""


class WorkerDirectory:
    """clock: in seconds, does not go back."""

    def __init__(self, redis: Redis, settings: DispatchSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._workers = Keys(settings.cell).workers
        self._clock = clock
        self._known: Sequence[Capabilities] = ()
        self._known_until = 0.0

    async def capabilities(self) -> Sequence[Capabilities]:
        """Of the workers that say what they can run, a second ago at most; none while no worker is there, or while Redis does
        not answer."""
        if not self._known or self._clock() >= self._known_until:
            self._known = await self._look()
            self._known_until = self._clock() + KNOWN_S
        return self._known

    async def _look(self) -> Sequence[Capabilities]:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                found = await self._redis.hvals(self._workers)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("what the workers can run is not known: %s", error or type(error).__name__)
            return ()
        return [
            record.capabilities
            for record in (decode(each) for each in found if isinstance(each, bytes))
            if record.capabilities is not None
        ]
