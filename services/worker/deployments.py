"""What is deployed, gathered for a moment: getting ready takes processors, which those who deploy more would wait for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from shared.dispatch.cell.deployment import Deployment

QUIET_S = 0.1
"""So long after the last one, no more are on their way."""
LATE_S = 2.0
"""So long after the first, nobody waits any longer."""
KEPT_MAX = 1_000
"""Beyond which the oldest is forgotten: getting ready is no promise."""


class Deployments:
    """get_ready: is told of each once it is time."""

    def __init__(self, get_ready: Callable[[Deployment], None]) -> None:
        self._get_ready = get_ready
        self._gathered: deque[Deployment] = deque(maxlen=KEPT_MAX)
        self._late_at = 0.0
        self._timer: asyncio.Handle | None = None
        self._closed = False

    def add(self, deployment: Deployment) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None:
            self._late_at = now + LATE_S
        else:
            self._timer.cancel()
        self._gathered.append(deployment)
        self._timer = loop.call_at(min(now + QUIET_S, self._late_at), self._tell)

    def close(self) -> None:
        """A worker that ends gets ready for nothing, whatever is still announced."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gathered.clear()

    def _tell(self) -> None:
        """One a turn of the loop: a thousand would hold up everything else, and one that fails is not the others' failure."""
        deployment = self._gathered.popleft()
        self._timer = asyncio.get_running_loop().call_soon(self._tell) if self._gathered else None
        self._get_ready(deployment)
