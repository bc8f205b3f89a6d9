"""The parts of EventBridge in a router, put together: what main.py opens, runs and closes."""

from __future__ import annotations

import asyncio

from services.router.deliveries.api_destinations.tokens import Tokens
from services.router.deliveries.courier import Courier
from services.router.events.archiver import Archiver
from services.router.events.authorizer import Authorizer
from services.router.events.event_router import EventRouter
from services.router.events.replays import Replays
from services.router.events.routes import RouteTable
from shared.events.bus_queue import BusQueue
from shared.events.producer import BatchingProducer
from shared.events.supervision import keep_running, run_until
from shared.registry.registry import Registry
from shared.settings import Settings


class EventBuses:
    """registry: open already. queue: on which replays put events again. handle: takes a record of the topic of events."""

    def __init__(self, settings: Settings, registry: Registry, queue: BusQueue, courier: Courier, tokens: Tokens) -> None:
        self._producer = BatchingProducer.of(settings, "router-archives")
        self._archiver = Archiver(registry, self._producer)
        self._replays = Replays(settings, registry, queue)
        after_s = settings.events.connections_authorized_after_s
        self._authorizer = Authorizer(registry, settings.account_id, tokens, after_s)
        self.handle = EventRouter(RouteTable(registry), courier, self._archiver).handle

    async def open(self) -> None:
        """Raises KafkaError or OSError when no broker answers."""
        await self._producer.open()

    async def run(self, stop: asyncio.Event) -> None:
        """What goes on beside the events: counting what is archived, replays, connections that are to be authorized."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("archives", lambda: run_until(stop, self._archiver.run()), stop))
            tasks.create_task(keep_running("connections", lambda: run_until(stop, self._authorizer.run()), stop))
            tasks.create_task(keep_running("replays", lambda: run_until(stop, self._replays.run()), stop))

    async def close(self) -> None:
        await self._archiver.close()
        await self._producer.close()
