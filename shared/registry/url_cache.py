"""Function URLs in this process's memory: a change made here is seen at once, one made elsewhere when it is announced, and
within cache_ttl_s where the announcement was lost."""

from __future__ import annotations

import asyncio
import time

from shared.registry import function_urls
from shared.registry.function_urls import ServedUrl
from shared.registry.registry import Registry
from shared.settings import Settings


class UrlCache:
    """Bounded; misses of the same URL share one read. That there is no such URL is remembered, too."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._ttl_s = settings.registry.cache_ttl_s
        self._entries_max = settings.registry.cache_entries_max
        self._entries: dict[str, tuple[float, ServedUrl | None]] = {}
        self._loads: dict[str, asyncio.Task[ServedUrl | None]] = {}

    async def find(self, url_id: str) -> ServedUrl | None:
        """Raises ServiceException when the registry cannot be reached."""
        entry = self._entries.get(url_id)
        if entry is not None and entry[0] > time.monotonic():
            return entry[1]
        load = self._loads.get(url_id)
        if load is None:
            load = asyncio.create_task(self._load(url_id))
            self._loads[url_id] = load
            load.add_done_callback(lambda done: self._loaded(url_id, done))
        return await asyncio.shield(load)

    def forget(self, function_id: str | None) -> None:
        """The next `find` of a URL of this function (None: of any) reads again, and joins no read that has begun before."""
        # Reads under way may be of this function; what was not there may be now.
        self._loads.clear()
        gone = [
            key
            for key, (_, found) in self._entries.items()
            if function_id is None or found is None or found.url.function_id == function_id
        ]
        for key in gone:
            del self._entries[key]

    async def _load(self, url_id: str) -> ServedUrl | None:
        async with self._registry.read() as connection:
            return await function_urls.served(connection, url_id)

    def _loaded(self, url_id: str, load: asyncio.Task[ServedUrl | None]) -> None:
        if self._loads.get(url_id) is not load:
            load.cancelled() or load.exception()
            return
        del self._loads[url_id]
        if load.cancelled() or load.exception() is not None:
            return
        self._entries[url_id] = (time.monotonic() + self._ttl_s, load.result())
        while len(self._entries) > self._entries_max:
            self._entries.pop(next(iter(self._entries)))
