"""Topics in this process's memory: a change made here is seen at once, one made elsewhere within a second."""

from __future__ import annotations

import asyncio
import time

from shared.domain.arns import Home
from shared.domain.topics import Topic
from shared.registry import sns
from shared.registry.registry import Registry

TTL_S = 1.0
ENTRIES_MAX = 10_000


class TopicCache:
    """Bounded; misses of the same topic share one read; what does not exist is not remembered."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._entries: dict[tuple[Home, str], tuple[float, Topic]] = {}
        self._loads: dict[tuple[Home, str], asyncio.Task[Topic | None]] = {}

    async def find(self, home: Home, name: str) -> Topic | None:
        """Raises ServiceException when the registry cannot be reached."""
        key = (home, name)
        entry = self._entries.get(key)
        if entry is not None and entry[0] > time.monotonic():
            return entry[1]
        load = self._loads.get(key)
        if load is None:
            load = asyncio.create_task(self._load(home, name))
            self._loads[key] = load
            load.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(load)

    def forget(self, home: Home, name: str) -> None:
        """The next `find` reads again, and joins no read that has begun before."""
        self._entries.pop((home, name), None)
        self._loads.pop((home, name), None)

    async def _load(self, home: Home, name: str) -> Topic | None:
        async with self._registry.read() as connection:
            return await sns.find(connection, home, name)

    def _loaded(self, key: tuple[Home, str], load: asyncio.Task[Topic | None]) -> None:
        failed = load.cancelled() or load.exception() is not None
        if self._loads.get(key) is not load:
            return
        del self._loads[key]
        topic = None if failed else load.result()
        if topic is None:
            return
        self._entries[key] = (time.monotonic() + TTL_S, topic)
        while len(self._entries) > ENTRIES_MAX:
            self._entries.pop(next(iter(self._entries)))
