"""The consumer of what was put on buses: an event goes to the archives that keep it and to the targets of rules it matches.

At-least-once: its record is settled when every archive has it and each of its deliveries is made or durable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from prometheus_client import Counter, Histogram

from services.router.deliveries.courier import Courier
from services.router.events.archiver import Archiver
from services.router.events.making import delivery_of
from services.router.events.routes import Routes, RouteTable, document_of
from shared.domain.errors import ServiceException
from shared.events.bus_events import BusEvent, decode_bus_event
from shared.events.records import RecordError

log = logging.getLogger("lambdad.router")

ROUTED = Counter("lambdad_bus_events_routed_total", "Events of buses that were matched against the rules of their bus")
MATCHED = Counter("lambdad_bus_events_matched_total", "Targets that events of buses matched")
DROPPED = Counter("lambdad_bus_events_dropped_total", "Events whose bus was deleted after they were put")
LATENCY = Histogram(
    "lambdad_bus_event_latency_seconds",
    "From when an event was put until it was delivered, or its deliveries durable",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses while the registry is away: the event's record stays unsettled meanwhile."""


class EventRouter:
    def __init__(self, routes: RouteTable, courier: Courier, archiver: Archiver) -> None:
        self._routes = routes
        self._courier = courier
        self._archiver = archiver

    async def handle(self, value: bytes) -> None:
        """A record of the topic. Raises RecordError."""
        event = decode_bus_event(value)
        try:
            document = document_of(event)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"the detail of event {event.event_id} is no JSON: {error}") from error
        routes = await self._routes_of(event)
        ROUTED.inc()
        if routes is None:
            DROPPED.inc()
            log.warning("event %s is dropped: its bus %s was deleted", event.event_id, event.bus)
            return
        await self._archiver.keep(event, routes.archives(event, document))
        await self._deliver(event, document, routes)
        LATENCY.observe(max(0.0, time.time() - event.ingested_at_ms / 1_000))

    async def _deliver(self, event: BusEvent, document: dict[str, Any], routes: Routes) -> None:
        now_ms = time.time_ns() // 1_000_000
        deliveries = [delivery_of(event, document, aim, now_ms) for aim in routes.aims(event, document)]
        if deliveries:
            MATCHED.inc(len(deliveries))
            await self._courier.deliver_now_or_later(deliveries)

    async def _routes_of(self, event: BusEvent) -> Routes | None:
        failures = 0
        while True:
            try:
                return await self._routes.find(event.home, event.bus, event.revision)
            except ServiceException as error:
                if failures == 0:
                    log.warning("events wait for the registry: %s", error)
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
