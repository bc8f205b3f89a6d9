"""Buses in a frontend's memory: a change made here is seen at once, one made elsewhere within a second."""

from __future__ import annotations

import asyncio
import time

from shared.domain.arns import Home
from shared.domain.event_buses import Bus
from shared.registry.events import buses
from shared.registry.registry import Registry

TTL_S = 1.0
ENTRIES_MAX = 10_000


class BusCache:
    """Bounded; what does not exist is remembered, too: events may be put on it all the time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._entries: dict[tuple[Home, str], tuple[float, Bus | None]] = {}
        self._loads: dict[tuple[Home, str], asyncio.Task[Bus | None]] = {}

    async def find(self, home: Home, name: str) -> Bus | None:
        """Raises ServiceException when the registry cannot be reached."""
        key = (home, name)
        entry = self._entries.get(key)
        if entry is not None and entry[0] > time.monotonic():
            return entry[1]
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = asyncio.create_task(self._load(home, name))
            load.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(load)

    def forget(self, home: Home, name: str) -> None:
        """The next `find` reads again, and joins no read that has begun before."""
        self._entries.pop((home, name), None)
        self._loads.pop((home, name), None)

    async def _load(self, home: Home, name: str) -> Bus | None:
        async with self._registry.read() as connection:
            return await buses.find(connection, home, name)

    def _loaded(self, key: tuple[Home, str], load: asyncio.Task[Bus | None]) -> None:
        failed = load.cancelled() or load.exception() is not None
        if self._loads.get(key) is not load:
            return
        del self._loads[key]
        if failed:
            return
        self._entries[key] = (time.monotonic() + TTL_S, load.result())
        while len(self._entries) > ENTRIES_MAX:
            self._entries.pop(next(iter(self._entries)))
