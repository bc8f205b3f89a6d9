"""The zygote that some pools have in common: started when the first of them needs it, and again after it died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.zygote_process import ZygoteProcess

log = logging.getLogger("lambdad.worker")


class Zygote:
    """recipe: of every pool that it forks for, but for what programs are told when they start. archives: see ZygoteProcess."""

    def __init__(self, recipe: Recipe, archives: Path) -> None:
        self._recipe = recipe
        self._archives = archives
        self._process = ZygoteProcess(recipe, archives, self._died)
        self._starting = asyncio.Lock()
        self._watchers: list[Callable[[], None]] = []

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process.alive else 0

    def when_dead(self, watcher: Callable[[], None]) -> None:
        """Have it called when the zygote has ended by itself, and its sandboxes with it."""
        self._watchers.append(watcher)

    async def started(self) -> ZygoteProcess:
        """Raises SandboxError, with what the zygote said."""
        async with self._starting:
            if not self._process.alive:
                await self._process.stop()
                self._process = ZygoteProcess(self._recipe, self._archives, self._died)
                await self._process.start()
            return self._process

    async def stop(self) -> None:
        """End it, and with it every sandbox that it forked."""
        await self._process.stop()

    def _died(self) -> None:
        log.error("the zygote of %s died", self._recipe.pool)
        for watcher in self._watchers:
            watcher()
