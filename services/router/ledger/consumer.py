"""The ledger topic's consumer: joins what was told for a moment and writes it in one transaction.

At-least-once: offsets are settled when Postgres has the rows, and writing them again changes nothing. While Postgres is away
nothing is fetched: what was told stays in Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time

from aiokafka import ConsumerRecord
from prometheus_client import Counter, Gauge

from services.router.ledger.backlog import Backlog
from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.supervision import run_until
from shared.events.topics import TopicNames
from shared.ledger.joining import Joined
from shared.ledger.records import LedgerRecordError, decode_batch
from shared.ledger.store import FAILURES, LedgerStore
from shared.settings import Settings
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.router.ledger")

UNREADABLE = Counter("lambdad_ledger_unreadable_total", "Records of the ledger's topic that could not be read")
BEHIND = Gauge("lambdad_ledger_behind_seconds", "How old the newest entry was when it was written")

FETCH_WAIT_S = 5.0
COLLECT_MS = 300
"""Entries of one event that come within this become one row, written once."""
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
TEND_EVERY_S = 60.0


class LedgerConsumer:
    """One member of the group that writes the ledger."""

    def __init__(self, settings: Settings, producer: BatchingProducer) -> None:
        self._names = TopicNames.of(settings.events)
        self._settings = settings
        self._producer = producer
        self._store = LedgerStore(settings)
        self._options = ReaderOptions(
            cluster=settings.kafka,
            group_id=self._names.ledger,
            client_id=f"{settings.instance or 'router'}-ledger",
            collect_ms=COLLECT_MS,
        )
        self._reader: GroupReader | None = None
        self._problem: str | None = None

    def problem(self) -> str | None:
        """For readiness: None while this router has its place in the group and Postgres takes what it writes."""
        if self._reader is None or not self._reader.is_ready():
            return "has no place in the consumer group"
        return self._problem

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises KafkaError when the group is lost: call again."""
        async with GroupReader([self._names.ledger], self._options) as reader:
            self._reader = reader
            backlog = Backlog(self._settings, reader, self._store)
            helpers = [supervise("ledger-backlog", backlog.watch), supervise("ledger-partitions", self._tend)]
            try:
                await run_until(stop, self._write_for_ever(reader))
            finally:
                self._reader = None
                for helper in helpers:
                    helper.cancel()
                await asyncio.wait(helpers, timeout=1.0)
                await self._store.close()

    async def _write_for_ever(self, reader: GroupReader) -> None:
        """What one fetch brings is one transaction: it is bounded in bytes."""
        while True:
            found = await reader.fetch(wait_s=FETCH_WAIT_S)
            if not found:
                continue
            joined = Joined()
            for records in found.values():
                for record in records:
                    await self._take(record, joined)
            await self._write(joined)
            for partition, records in found.items():
                for record in records:
                    reader.settle(partition, record.offset)

    async def _take(self, record: ConsumerRecord, joined: Joined) -> None:
        try:
            joined.add(decode_batch(record.value or b""))
        except (LedgerRecordError, IndexError) as error:
            # Not of the platform's making: kept for a person to look at, never in the way of the others.
            UNREADABLE.inc()
            log.error("record %s@%d is set aside: %s", record.partition, record.offset, error)
            await self._producer.persist(self._names.undeliverable, record.value or b"")

    async def _write(self, joined: Joined) -> None:
        """Until Postgres has it, however long that takes."""
        for failures in itertools.count():
            try:
                await self._store.write(joined)
            except FAILURES as error:
                if self._problem is None:
                    log.warning("the ledger waits for Postgres: %r", error)
                self._problem = f"Postgres does not take the ledger: {error!r}"
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            else:
                self._problem = None
                newest_ms = max((entry.at_ms for entry, _ in joined.events.values()), default=0)
                if newest_ms:
                    BEHIND.set(max(0.0, time.time() - newest_ms / 1_000))
                return

    async def _tend(self) -> None:
        while True:
            with contextlib.suppress(*FAILURES):
                await self._store.tend()
            await asyncio.sleep(TEND_EVERY_S)
