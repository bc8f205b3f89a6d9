"""Events that are not to be run any more: every poller knows them all, so that each finds them wherever they come from.

Ids are on a topic of one partition that is read from its beginning at start and followed from there. It keeps them for a day,
which is longer than any event waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import Gauge

from shared.events.kafka import client_arguments
from shared.events.topics import TopicNames
from shared.ledger.cancelling import decode_cancelled
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.async")

CANCELLED = Gauge("lambdad_async_cancellations", "Events that this poller knows are not to be run")

IDS_MAX = 500_000
"""The oldest go first."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
FETCH_WAIT_MS = 5_000


class Cancellations:
    """ids: of events that are not to be run. `loaded` before the first event runs."""

    def __init__(self, settings: Settings) -> None:
        self.ids: dict[str, None] = {}
        self._settings = settings
        self._partition = TopicPartition(TopicNames.of(settings.events).cancellations, 0)
        self._loaded = asyncio.Event()
        CANCELLED.set_function(lambda: len(self.ids))

    async def loaded(self) -> None:
        """Returns when all that was cancelled before is known. Raises TimeoutError."""
        async with asyncio.timeout(START_TIMEOUT_S):
            await self._loaded.wait()

    async def follow(self) -> None:
        """For ever. Raises KafkaError, OSError or TimeoutError when Kafka is lost: call again; what was read is read again."""
        consumer = AIOKafkaConsumer(
            **client_arguments(self._settings.kafka),
            client_id=f"{self._settings.instance or 'poller'}-cancellations",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await consumer.start()
                # Before anything is fetched: on a connection whose fetch waits for records a broker answers nothing else.
                end = (await consumer.end_offsets([self._partition]))[self._partition]
                consumer.assign([self._partition])
            while True:
                if not self._loaded.is_set() and await consumer.position(self._partition) >= end:
                    self._loaded.set()
                found = await consumer.getmany(timeout_ms=FETCH_WAIT_MS if self._loaded.is_set() else 200)
                for records in found.values():
                    for record in records:
                        self._take(record.value or b"")
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await consumer.stop()

    def _take(self, value: bytes) -> None:
        try:
            ids = decode_cancelled(value)
        except msgspec.DecodeError as error:
            log.error("a record of the cancellations cannot be read: %s", error)
            return
        self.ids.update(dict.fromkeys(ids))
        while len(self.ids) > IDS_MAX:
            del self.ids[next(iter(self.ids))]
