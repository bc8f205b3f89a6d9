"""The router: delivers outcomes to destinations and dead-letter queues. Parts are put together here."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from services.router.deliveries.api_destinations.tokens import Tokens
from services.router.deliveries.courier import Courier
from services.router.deliveries.http_requests import HttpRequests
from services.router.deliveries.queue_settings import settings_of_queue
from services.router.deliveries.targets import Targets
from services.router.deliveries.to_api_destination import ToApiDestination
from services.router.deliveries.to_bus import ToBus
from services.router.deliveries.to_topic import ToTopic
from services.router.events.service import EventBuses
from services.router.ledger import deliveries as told
from services.router.ledger.consumer import LedgerConsumer
from services.router.outcomes.making import deliveries_of
from services.router.sns.fan_out import FanOut
from services.router.topic_consumer import TopicConsumer
from shared.events.bus_queue import BusQueue
from shared.events.producer import BatchingProducer
from shared.events.queue import AsyncQueue
from shared.events.records import decode_outcome
from shared.events.supervision import keep_running
from shared.events.topics import TopicNames
from shared.ledger.writer import LedgerWriter
from shared.queues import Queues
from shared.registry.cache import TargetCache
from shared.registry.events.cache import BusCache
from shared.registry.registry import Registry
from shared.registry.topic_cache import TopicCache
from shared.settings import Settings
from shared.sns.publisher import Publisher
from shared.telemetry.health import HealthServer

LEDGER_FLUSH_S = 2.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; then ends what is under way within a few seconds. What is left is delivered elsewhere."""
    registry = Registry(settings)
    queues = Queues.of(settings, partial(settings_of_queue, registry, settings.account_id), name="router")
    queue = AsyncQueue(settings)
    producer = BatchingProducer.of(settings, "router")
    names = TopicNames.of(settings.events)
    publisher = Publisher(settings, producer)
    topics = ToTopic(TopicCache(registry), publisher)
    bus_queue = BusQueue(settings, producer)
    to_bus = ToBus(bus_queue, BusCache(registry).find, settings.account_id)
    requests = HttpRequests(settings)
    tokens = Tokens(requests)
    to_destination = ToApiDestination(registry, settings.account_id, requests, tokens)
    resolver = TargetCache(registry, settings)
    targets = Targets(settings, queues, resolver, queue, topics, to_bus, requests, to_destination)
    ledger = LedgerWriter(settings, producer)
    courier = Courier(settings, producer, targets.deliverers, targets.keepers, partial(told.tell, ledger))
    buses = EventBuses(settings, registry, bus_queue, courier, tokens)

    async def tell(value: bytes) -> None:
        await courier.deliver_now_or_later(deliveries_of(decode_outcome(value)))

    fan_out = FanOut(settings, registry, courier.deliver_now_or_later)
    consumers = {
        "outcomes": TopicConsumer(settings, names.outcomes, producer, tell),
        "deliveries": TopicConsumer(settings, names.deliveries, producer, courier.take_up, forget=True),
        "sns": TopicConsumer(settings, names.sns, producer, fan_out.handle),
        "sns-fifo": TopicConsumer(settings, names.sns_fifo, producer, fan_out.handle),
        "events": TopicConsumer(settings, names.events, producer, buses.handle),
    }
    written = LedgerConsumer(settings, producer)
    checks = {
        "kafka": producer.problem,
        "queue": queue.problem,
        **{name: consumer.problem for name, consumer in consumers.items()},
        "ledger": written.problem,
    }
    async with HealthServer(settings.telemetry, service="router", checks=checks), targets:
        try:
            await registry.migrate()
            await registry.open()
            await queues.open()
            await queue.open()
            await producer.open()
            await buses.open()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(buses.run(stop))
                tasks.create_task(keep_running("ledger", partial(written.run, stop), stop))
                for name, consumer in consumers.items():
                    tasks.create_task(keep_running(name, partial(consumer.run, stop), stop))
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEDGER_FLUSH_S):
                    await ledger.flush()
            await buses.close()
            await queue.close()
            await producer.close()
            await publisher.close()
            await queues.close()
            await registry.close()
