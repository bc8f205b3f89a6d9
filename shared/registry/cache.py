"""Resolved invoke targets in this process's memory. Lease scripts say when one is stale; the time to live is a safety net."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import NamedTuple

from prometheus_client import Counter

from shared.domain.arns import LATEST, Home, home_of
from shared.domain.errors import ResourceConflictException, ResourceNotFoundException
from shared.domain.function_state import State
from shared.domain.functions import InvokeTarget
from shared.registry import targets
from shared.registry.packages import PackageError
from shared.registry.registry import Registry
from shared.settings import Settings

QUALIFIERS_MAX = 64
"""Qualifiers kept of one function; beyond that its entry starts over."""
LOADS = Counter("lambdad_target_cache_loads_total", "Targets read from the registry because they were not cached")

Choice = tuple[float, InvokeTarget]


class Entry(NamedTuple):
    """expires: by time.monotonic(). target: unless it is a weighted alias; choices: its (cumulative share, target)."""

    expires: float
    target: InvokeTarget | None
    choices: tuple[Choice, ...]


class TargetCache:
    """Bounded; misses of the same target share one read; what does not exist is not remembered."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._ttl_s = settings.registry.cache_ttl_s
        self._functions_max = settings.registry.cache_entries_max
        self._entries: dict[str, dict[str | None, Entry]] = {}
        self._loads: dict[tuple[str, str | None], asyncio.Task[Entry]] = {}

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget:
        """The target of `function_arn:qualifier`; of a weighted alias one of its two, drawn anew with each call.

        function_arn has no qualifier. Raises ResourceNotFoundException with AWS's text, ResourceConflictException for a
        function that failed to become active, ServiceException when the registry cannot be reached.
        """
        target = self.cached(function_arn, qualifier)
        if target is not None:
            return target
        entry = await self._load_shared(function_arn, qualifier)
        return entry.target or _draw(entry.choices)

    def cached(self, function_arn: str, qualifier: str | None) -> InvokeTarget | None:
        """What `resolve` answers without reading; None when it has to read."""
        qualifiers = self._entries.get(function_arn)
        if qualifiers is not None:
            entry = qualifiers.get(qualifier)
            if entry is not None and entry.expires > time.monotonic():
                return entry.target or _draw(entry.choices)
        return None

    def forget(self, function_arn: str) -> None:
        """The next `resolve` reads again, and does not join a read that has begun before."""
        self._entries.pop(function_arn, None)
        for key in [key for key in self._loads if key[0] == function_arn]:
            del self._loads[key]

    async def _load_shared(self, arn: str, qualifier: str | None) -> Entry:
        key = (arn, qualifier)
        load = self._loads.get(key)
        if load is None:
            load = asyncio.create_task(self._load(arn, qualifier))
            self._loads[key] = load
            load.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(load)

    def _loaded(self, key: tuple[str, str | None], load: asyncio.Task[Entry]) -> None:
        if self._loads.get(key) is not load:
            load.cancelled() or load.exception()
            return
        del self._loads[key]
        if load.cancelled() or load.exception() is not None:
            return
        arn, qualifier = key
        qualifiers = self._entries.setdefault(arn, {})
        if len(qualifiers) >= QUALIFIERS_MAX:
            qualifiers.clear()
        qualifiers[qualifier] = load.result()
        while len(self._entries) > self._functions_max:
            self._entries.pop(next(iter(self._entries)))

    async def _load(self, arn: str, qualifier: str | None) -> Entry:
        LOADS.inc()
        home, name = home_of(arn), arn.rpartition(":")[2]
        found = await self._read(home, name, qualifier)
        unsettled = [resolved.found for resolved in found if not resolved.found.version.status.settled]
        if unsettled:
            for version in unsettled:
                try:
                    await self._registry.settler.settle(version)
                except PackageError as error:
                    raise _not_ready(State.PENDING) from error
            found = await self._read(home, name, qualifier)
        if not found:
            raise ResourceNotFoundException(f"Function not found: {arn}:{qualifier or LATEST}")
        for resolved in found:
            if resolved.found.version.status.state is State.FAILED:
                raise _not_ready(State.FAILED)
        made = [targets.target_of(one, qualifier, account_id=home.account_id) for one in found]
        expires = time.monotonic() + self._ttl_s
        if len(made) == 1:
            return Entry(expires, made[0], ())
        shares = itertools.accumulate(resolved.share for resolved in found)
        return Entry(expires, None, tuple(zip(shares, made, strict=True)))

    async def _read(self, home: Home, name: str, qualifier: str | None) -> list[targets.ResolvedVersion]:
        async with self._registry.read() as connection:
            return await targets.load(connection, home, name, qualifier)


def _not_ready(state: State) -> ResourceConflictException:
    return ResourceConflictException(
        f"The operation cannot be performed at this time. The function is currently in the following state: {state.value}"
    )


def _draw(choices: tuple[Choice, ...]) -> InvokeTarget:
    point = random.random()
    for share, target in choices:
        if point < share:
            return target
    return choices[-1][1]
