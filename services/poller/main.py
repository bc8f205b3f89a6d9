"""The poller: runs asynchronous events, sends delayed ones back, feeds event source mappings. Parts are put together here."""

from __future__ import annotations

import asyncio

from services.poller.assignment import MappingManager
from services.poller.async_queue import AsyncPoller
from services.poller.delays import DelayConsumer
from shared.dispatch.client.dispatcher import Dispatcher
from shared.dispatch.client.invoker import FunctionInvoker
from shared.events.producer import BatchingProducer
from shared.events.supervision import keep_running
from shared.events.topics import ensure_topics
from shared.registry.cache import TargetCache
from shared.registry.registry import Registry
from shared.settings import Settings
from shared.telemetry.health import HealthServer


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; then settles what it can within a few seconds. What is left unsettled runs elsewhere."""
    registry = Registry(settings)
    dispatcher = Dispatcher(settings, role="poller")
    producer = BatchingProducer.of(settings, "poller")
    resolver = TargetCache(registry, settings)
    invoker = FunctionInvoker(resolver, dispatcher)
    events = AsyncPoller(settings, invoker, producer)
    delays = DelayConsumer(settings, producer)
    manager = MappingManager(settings, registry.mappings, invoker, producer)
    started = asyncio.Event()
    checks = {
        "kafka": producer.problem,
        "async": events.problem,
        "delays": delays.problem,
        "mappings": manager.problem,
        "dispatch": lambda: dispatcher.problem() if started.is_set() else "not started",
    }
    async with HealthServer(settings.telemetry, service="poller", checks=checks, details={"mappings": manager.details}):
        try:
            await registry.migrate()
            await registry.open()
            await ensure_topics(settings)
            await producer.open()
            await dispatcher.open()
            started.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_running("asynchronous queue", lambda: events.run(stop), stop))
                tasks.create_task(keep_running("delay tiers", lambda: delays.run(stop), stop))
                tasks.create_task(manager.run(stop))
        finally:
            await dispatcher.close()
            await producer.close()
            await registry.close()
