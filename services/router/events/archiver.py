"""Writes events to the topics of the archives that keep them, and counts them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from shared.domain.errors import ServiceException
from shared.domain.event_buses import Archive
from shared.events.bus_events import BusEvent, encode_bus_event
from shared.events.producer import BatchingProducer, ProduceError
from shared.registry.events import archives
from shared.registry.registry import Registry

log = logging.getLogger("lambdad.router")

COUNT_EVERY_S = 0.5
TRIES_MAX = 5
"""Of an archive that does not take an event: it may have been deleted, which is looked at after each."""
EVENT_BYTES = 26
"""What an event counts for beside its source, type and detail: found from what AWS counted."""


class Archiver:
    """producer: its own, so that an archive that was deleted keeps up nobody else."""

    def __init__(self, registry: Registry, producer: BatchingProducer) -> None:
        self._registry = registry
        self._producer = producer
        self._counted: dict[str, tuple[int, int]] = {}

    async def keep(self, event: BusEvent, kept_by: Sequence[Archive]) -> None:
        """Returns when each archive has the event on every in-sync replica, or is not there any more."""
        if not kept_by:
            return
        record = encode_bus_event(event)
        size_bytes = len(event.source.encode()) + len(event.detail_type.encode()) + len(event.detail) + EVENT_BYTES
        for kept, archive in zip(await asyncio.gather(*(self._keep(one, record) for one in kept_by)), kept_by, strict=True):
            if kept:
                events, counted_bytes = self._counted.get(archive.topic, (0, 0))
                self._counted[archive.topic] = (events + 1, counted_bytes + size_bytes)

    async def run(self) -> None:
        """Until cancelled: tells the registry how much has been archived. Raises ServiceException."""
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            await self.count()

    async def count(self) -> None:
        """Raises ServiceException; nothing is lost by it."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            async with self._registry.write() as connection:
                await archives.add(connection, counted)
        except BaseException:
            for topic, (events, size_bytes) in counted.items():
                more, more_bytes = self._counted.get(topic, (0, 0))
                self._counted[topic] = (events + more, size_bytes + more_bytes)
            raise

    async def close(self) -> None:
        """Counts what has not been counted, if it can."""
        try:
            await self.count()
        except ServiceException as error:
            log.warning("%d archives have events that are not counted: %s", len(self._counted), error)

    async def _keep(self, archive: Archive, record: bytes) -> bool:
        failures = 0
        while True:
            try:
                await self._producer.send(archive.topic, record)
                return True
            except ProduceError as error:
                failures += 1
                log.warning("archive %s did not take an event: %s", archive.name, error)
            if await self._is_gone(archive):
                return False
            await asyncio.sleep(min(failures, TRIES_MAX) * COUNT_EVERY_S)

    async def _is_gone(self, archive: Archive) -> bool:
        try:
            async with self._registry.read() as connection:
                found = await archives.find(connection, archive.home, archive.name)
        except ServiceException:
            return False
        return found is None or found.topic != archive.topic
