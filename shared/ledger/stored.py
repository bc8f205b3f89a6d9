"""Reads events again where the ledger says that they are: on the event topic, by partition and offset."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.domain.errors import ServiceException
from shared.events.kafka import client_arguments
from shared.events.records import AsyncEvent, RecordError, decode_event
from shared.events.topics import TopicNames
from shared.ledger.queries import LedgerEvent
from shared.settings import Settings

START_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 3.0
POLL_MS = 1_000


class StoredEvents:
    """A connection to Kafka for as long as the context is open. Raises ServiceException when Kafka does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._topic = TopicNames.of(settings.events).asynchronous
        self._consumer = AIOKafkaConsumer(
            **client_arguments(settings.kafka),
            client_id=f"{settings.instance or 'frontend'}-stored-events",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=100,
        )

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._consumer.start()
        except BaseException as error:
            await self.__aexit__(None, None, None)
            if isinstance(error, KafkaError | OSError | TimeoutError):
                raise _unreachable() from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._consumer.stop()

    async def read(self, events: Sequence[LedgerEvent]) -> dict[str, AsyncEvent]:
        """Those that are still there, by id: Kafka keeps them for a week."""
        found = {}
        for event in sorted(events, key=lambda event: (event.partition, event.offset)):
            stored = await self._read(event)
            if stored is not None:
                found[event.event_id] = stored
        return found

    async def _read(self, event: LedgerEvent) -> AsyncEvent | None:
        partition = TopicPartition(self._topic, event.partition)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                self._consumer.assign([partition])
                first = (await self._consumer.beginning_offsets([partition]))[partition]
                end = (await self._consumer.end_offsets([partition]))[partition]
                if not first <= event.offset < end:
                    return None
                self._consumer.seek(partition, event.offset)
                record = await self._consumer.getone(partition)
        except (KafkaError, OSError, TimeoutError) as error:
            raise _unreachable() from error
        try:
            stored = decode_event(record.value or b"")
        except RecordError:
            return None
        # A topic that was made anew has others at the same places.
        return stored if stored.event_id == event.event_id else None


def _unreachable() -> ServiceException:
    return ServiceException("The event's payload could not be read from Kafka. Try again.")
