"""The router: delivers outcomes to destinations and dead-letter queues. Parts are put together here."""

from __future__ import annotations

import asyncio

from services.router.deliverers import Deliverers
from services.router.destinations.kafka import KafkaDestination
from services.router.outcomes import OutcomeRouter
from shared.events.producer import BatchingProducer
from shared.events.queue import AsyncQueue
from shared.events.supervision import keep_running
from shared.queues import QueueWriter
from shared.settings import Settings
from shared.telemetry.health import HealthServer


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; then ends what is under way within a few seconds. What is left is delivered elsewhere."""
    queues = QueueWriter.of(settings)
    queue = AsyncQueue(settings)
    producer = BatchingProducer.of(settings, "router")
    topics = KafkaDestination(settings)
    router = OutcomeRouter(settings, producer, Deliverers.of(settings, queues, queue, topics))
    checks = {"kafka": producer.problem, "queue": queue.problem, "outcomes": router.problem}
    async with HealthServer(settings.telemetry, service="router", checks=checks):
        try:
            await queue.open()
            await producer.open()
            await keep_running("outcomes", lambda: router.run(stop), stop)
        finally:
            await topics.close()
            await queue.close()
            await producer.close()
            await queues.close()
