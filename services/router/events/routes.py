"""What each bus does with an event: its rules compiled, their targets, its archives; changes are seen within a second."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from shared.domain.arns import Home
from shared.domain.event_buses import Archive, Bus, Rule, RuleTarget
from shared.domain.event_patterns import EventPattern, PatternError, RuleSet
from shared.domain.input_transformers import Transform, transform_of
from shared.events.bus_events import BusEvent, told_time
from shared.registry.events import archives, buses, rules
from shared.registry.registry import Registry

log = logging.getLogger("lambdad.router")

FRESH_S = 1.0
"""So long what was read of a bus is used without a look at the bus's revision."""
BUSES_MAX = 2_000


class Aim(msgspec.Struct, frozen=True):
    """One target of a rule, with what makes its payload."""

    rule: Rule
    target: RuleTarget
    transform: Transform


class Routes:
    """Of one bus. Rules that are disabled are not in it."""

    def __init__(self, bus: Bus, listed: Sequence[tuple[Rule, Sequence[RuleTarget]]], kept: Sequence[Archive]) -> None:
        self.bus = bus
        self._aims: dict[str, list[Aim]] = {}
        patterns: dict[str, EventPattern] = {}
        for rule, targets in listed:
            if not rule.enabled:
                continue
            self._aims[rule.arn] = [Aim(rule, target, transform_of(target.settings)) for target in targets]
            if rule.pattern is not None and targets:
                _add(patterns, rule.arn, rule.pattern)
        self._rules = RuleSet(patterns)
        self._archives = {archive.topic: archive for archive in kept}
        patterned: dict[str, EventPattern] = {}
        for archive in kept:
            if archive.pattern is not None:
                _add(patterned, archive.topic, archive.pattern)
        self._archived = RuleSet(patterned)
        self._all_archived = [archive for archive in kept if archive.pattern is None]

    def aims(self, event: BusEvent, document: dict[str, Any]) -> list[Aim]:
        """The targets that get the event. document: as patterns see it."""
        if event.rules and event.replay is None:
            # What a schedule made is for its rule alone, whether or not that has a pattern, too.
            return [aim for arn in event.rules for aim in self._aims.get(arn, ())]
        matched = self._rules.matching(document)
        return [aim for arn in matched if not event.rules or arn in event.rules for aim in self._aims[arn]]

    def archives(self, event: BusEvent, document: dict[str, Any]) -> list[Archive]:
        """That keep the event: what is replayed is in one already."""
        if event.replay is not None:
            return []
        return [*self._all_archived, *(self._archives[topic] for topic in self._archived.matching(document))]


def _add(patterns: dict[str, EventPattern], key: str, text: str) -> None:
    try:
        patterns[key] = EventPattern(text)
    except PatternError as error:
        # It was accepted by another version.
        log.error("the pattern of %s matches nothing: %s", key, error)


class _Kept(msgspec.Struct):
    routes: Routes | None
    until: float


def _revision(routes: Routes | None) -> int:
    return 0 if routes is None else routes.bus.revision


class RouteTable:
    """The routes of the buses that events come for. Bounded; reads of the same bus are shared."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: dict[tuple[Home, str], _Kept] = {}
        self._loads: dict[tuple[Home, str], asyncio.Task[Routes | None]] = {}

    async def find(self, home: Home, bus: str, revision: int) -> Routes | None:
        """As they are now, or were a second ago; at least as they were at `revision` of the bus. None: there is no such bus.

        Raises ServiceException when the registry cannot be reached."""
        key = (home, bus)
        kept = self._kept.get(key)
        if kept is not None and kept.until > time.monotonic() and _revision(kept.routes) >= revision:
            return kept.routes
        load = self._loads.get(key)
        if load is not None:
            routes = await asyncio.shield(load)
            if _revision(routes) >= revision:
                return routes
            # It may have begun before the change that the event knows of.
            load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = asyncio.create_task(self._load(key))
            load.add_done_callback(lambda _: self._loads.pop(key, None))
        return await asyncio.shield(load)

    async def _load(self, key: tuple[Home, str]) -> Routes | None:
        home, name = key
        kept = self._kept.get(key)
        routes = None if kept is None else kept.routes
        # The age of what is read counts from before it is read.
        until = time.monotonic() + FRESH_S
        async with self._registry.read() as connection:
            bus = await buses.find(connection, home, name)
            if bus is None:
                routes = None
            elif routes is None or routes.bus.revision != bus.revision or routes.bus.created_ms != bus.created_ms:
                listed = await rules.all_of(connection, home, name)
                routes = Routes(bus, listed, await archives.of_bus(connection, home, name))
        self._kept.pop(key, None)
        self._kept[key] = _Kept(routes, until)
        while len(self._kept) > BUSES_MAX:
            self._kept.pop(next(iter(self._kept)))
        return routes


def document_of(event: BusEvent) -> dict[str, Any]:
    """The event as patterns and paths see it. Raises ValueError for a detail that is no JSON."""
    try:
        detail = msgspec.json.decode(event.detail)
    except (msgspec.DecodeError, RecursionError):
        # Of numbers too great for it.
        detail = json.loads(event.detail)
    document: dict[str, Any] = {
        "version": "0",
        "id": event.event_id,
        "detail-type": event.detail_type,
        "source": event.source,
        "account": event.account,
        "time": told_time(event.at_ms),
        "region": event.region,
        "resources": list(event.resources),
        "detail": detail,
    }
    if event.replay is not None:
        document["replay-name"] = event.replay
    return document
