"""A poller, the ledger's consumer and its rows, on a real Kafka and a real Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec

from services.poller.async_queue import AsyncPoller
from services.poller.delays import DelayConsumer
from services.router.ledger.consumer import LedgerConsumer
from shared.domain.functions import EventInvokeConfig, InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.producer import BatchingProducer
from shared.events.queue import AsyncQueue
from shared.events.records import AsyncEvent
from shared.events.topics import TopicNames
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import ARN, Behaviour, Functions, running, settings_of, until


class ByName(Functions):
    """Each function does what it is told to, under its own configuration: one poller for many tests. never_run: names of those
    whose reserved concurrency is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.does: dict[str, Behaviour] = {}
        self.configs: dict[str, EventInvokeConfig] = {}
        self.never_run: set[str] = set()

    async def resolve(self, arn: str, qualifier: str | None) -> InvokeTarget:
        name = arn.removeprefix(ARN)
        target = await super().resolve(arn, qualifier)
        reserved = 0 if name in self.never_run else None
        config = self.configs.get(name, EventInvokeConfig())
        return msgspec.structs.replace(target, event_invoke=config, reserved_concurrency=reserved)

    async def invoke(self, arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float) -> InvocationResult:
        return await self.does.get(arn.removeprefix(ARN), self._works)(invocation)


class World:
    """functions, consumer: of a poller and of the ledger's consumer that run for several tests, where they do."""

    functions: ByName
    consumer: LedgerConsumer

    def __init__(self, settings: Settings, queue: AsyncQueue, producer: BatchingProducer, rows: asyncpg.Connection) -> None:
        self.settings = settings
        self.names = TopicNames.of(settings.events)
        self.queue = queue
        self.producer = producer
        self.rows = rows

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, kafka: KafkaCluster, database_url: str, **events: Any) -> AsyncIterator[World]:
        settings = settings_of(kafka, **events).model_copy(update={"database_url": database_url})
        queue, producer = AsyncQueue(settings), BatchingProducer.of(settings, "test")
        rows = await asyncpg.connect(database_url, timeout=10)
        try:
            await queue.open()
            await producer.open()
            yield cls(settings, queue, producer, rows)
        finally:
            await producer.close()
            await queue.close()
            await rows.close(timeout=10)

    @contextlib.asynccontextmanager
    async def polling(self, functions: Functions, *, kill: bool = False) -> AsyncIterator[AsyncPoller]:
        poller = AsyncPoller(self.settings, functions, self.producer)
        delays = DelayConsumer(self.settings, self.producer)
        async with running(poller.run, kill=kill), running(delays.run):
            yield poller

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[LedgerConsumer]:
        consumer = LedgerConsumer(self.settings, self.producer)
        async with running(consumer.run):
            yield consumer

    async def row(self, event: AsyncEvent) -> dict[str, Any] | None:
        rows = await self.rows.fetch("SELECT * FROM ledger_events WHERE id = $1", event.event_id)
        assert len(rows) <= 1, "an event has two rows"
        return dict(rows[0]) if rows else None

    async def row_with(self, event: AsyncEvent, status: int) -> dict[str, Any]:
        async def found() -> dict[str, Any] | None:
            row = await self.row(event)
            return row if row is not None and row["status"] == status else None

        return dict(await until(found, f"the row of {event.event_id} has status {status}"))

    async def steps(self, event: AsyncEvent) -> list[dict[str, Any]]:
        return [
            dict(row)
            for row in await self.rows.fetch("SELECT * FROM ledger_steps WHERE id = $1 ORDER BY at_ms", event.event_id)
        ]
