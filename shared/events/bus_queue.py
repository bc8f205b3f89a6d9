"""Where events wait for their buses: the frontend's and the router's way in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.domain.errors import ServiceException
from shared.events.bus_events import BusEvent, encode_bus_event
from shared.events.producer import BatchingProducer, ProduceError
from shared.events.topics import TopicNames
from shared.settings import Settings


class BusQueue:
    """Whatever `put` returned for is on every in-sync replica."""

    def __init__(self, settings: Settings, producer: BatchingProducer) -> None:
        """producer: opened and closed by whoever made it."""
        self._topic = TopicNames.of(settings.events).events
        self._producer = producer

    async def put(self, events: Sequence[BusEvent]) -> None:
        """All of them at once. Raises ServiceException when Kafka has not acknowledged each in time: some may be there."""
        sent = (self._producer.send(self._topic, encode_bus_event(event)) for event in events)
        for failure in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(failure, ProduceError):
                raise ServiceException("The events could not be queued. Please try again.") from failure
            if failure is not None:
                raise failure
