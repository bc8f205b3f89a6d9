"""The poller: runs asynchronous events, sends delayed ones back, feeds event source mappings. Parts are put together here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from services.poller.assignment import MappingManager
from services.poller.async_queue import AsyncPoller
from services.poller.delays import DelayConsumer
from services.poller.mapping.delivery import DeliveryLimits
from shared.dispatch.client import Dispatcher
from shared.dispatch.invoker import FunctionInvoker
from shared.domain.mappings import MappingState
from shared.events.producer import BatchingProducer
from shared.events.supervision import keep_running
from shared.events.topics import ensure_topics
from shared.registry import mappings
from shared.registry.cache import TargetCache
from shared.registry.registry import Registry
from shared.settings import Settings
from shared.telemetry.health import HealthServer

REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; then settles what it can within a few seconds. What is left unsettled runs elsewhere."""
    registry = Registry(settings)
    dispatcher = Dispatcher(settings, role="poller")
    producer = BatchingProducer.of(settings, "poller")
    resolver = TargetCache(registry, settings)
    invoker = FunctionInvoker(resolver, dispatcher)
    events = AsyncPoller(settings, resolver, invoker, producer)
    delays = DelayConsumer(settings, producer)
    manager = MappingManager(settings, RegistryMappings(registry), invoker, producer)
    started = asyncio.Event()
    checks = {
        "kafka": producer.problem,
        "async": events.problem,
        "delays": delays.problem,
        "mappings": manager.problem,
        "dispatch": lambda: dispatcher.problem() if started.is_set() else "not started",
    }
    async with HealthServer(settings.telemetry, service="poller", checks=checks):
        try:
            await registry.migrate()
            await registry.open()
            await ensure_topics(settings)
            await producer.start()
            await dispatcher.start()
            started.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_running("asynchronous queue", lambda: events.run(stop), stop))
                tasks.create_task(keep_running("delay tiers", lambda: delays.run(stop), stop))
                tasks.create_task(manager.run(stop))
        finally:
            await dispatcher.close()
            await producer.close()
            await registry.close()


class RegistryMappings:
    """The registry's mappings as the manager wants them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.list_all = registry.mappings.list_all
        self.set_last_result = registry.mappings.set_last_result
        self.delete = registry.mappings.delete

    def changes(self) -> AsyncIterator[None]:
        return self._registry.mappings.changes()

    async def set_state(
        self,
        uuid: str,
        state: MappingState,
        reason: str,
        last_processing_result: str | None = None,
        *,
        revision: int | None = None,
    ) -> bool:
        return await self._registry.mappings.set_state(uuid, state, reason, last_processing_result, revision=revision)

    async def limits(self, uuid: str) -> DeliveryLimits:
        """How the mapping's owner wants failures handled; AWS's defaults for what was left out."""
        async with self._registry.read() as connection:
            row = await mappings.find(connection, uuid)
        if row is None:
            return DeliveryLimits()
        chosen = row.settings
        return DeliveryLimits(
            retry_attempts_max=-1 if chosen.retry_attempts_max is None else chosen.retry_attempts_max,
            record_age_s_max=-1 if chosen.record_age_s_max is None else chosen.record_age_s_max,
            bisect_on_error=bool(chosen.bisect_on_error),
            report_batch_item_failures=REPORT_BATCH_ITEM_FAILURES in chosen.function_response_types,
        )
