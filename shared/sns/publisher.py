"""The way in: a message is accepted once every in-sync replica has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import msgspec

from shared.domain.errors import ServiceException
from shared.domain.topics import Topic
from shared.events.producer import BatchingProducer, ProduceError
from shared.events.topics import TopicNames
from shared.settings import Settings
from shared.sns.deduplication import Deduplication, Place
from shared.sns.records import Handshake, Published, encode

Accepted = tuple[Published, ServiceException | None]
"""A message as it was accepted, and what went wrong where it was not."""


class Publisher:
    """producer: is opened and closed by whoever made it."""

    def __init__(self, settings: Settings, producer: BatchingProducer) -> None:
        self._names = TopicNames.of(settings.events)
        self._producer = producer
        self._deduplication = Deduplication.of(settings)

    async def close(self) -> None:
        await self._deduplication.close()

    async def publish(self, topic: Topic, messages: Sequence[Published]) -> list[Accepted]:
        """Beside each other, those of one group in the order in which they are given. Of a FIFO topic each gets its number, or
        the id and number of the message that it is a duplicate of. Raises ServiceException where no place can be given."""
        if not topic.fifo:
            return list(zip(messages, await self._write(messages), strict=True))
        by_group = topic.attributes.get("FifoThroughputScope") == "MessageGroup"
        placed: list[Published] = []
        places: list[Place] = []
        for message in messages:
            scope = message.group_id or "" if by_group else ""
            place = await self._deduplication.place(topic.arn, scope, message.deduplication_id or "", message.message_id)
            places.append(place)
            placed.append(msgspec.structs.replace(message, message_id=place.message_id, sequence_number=place.sequence_number))
        new = [message for message, place in zip(placed, places, strict=True) if not place.kept]
        # A duplicate within the batch is written once, in the place of the first.
        unique = list({message.message_id: message for message in reversed(new)}.values())[::-1]
        ends = dict(zip((message.message_id for message in unique), await self._write(unique), strict=True))
        await self._deduplication.keep([place for place in places if not place.kept and ends[place.message_id] is None])
        return [(message, ends.get(message.message_id)) for message in placed]

    async def publish_to_nobody(self, message: Published) -> None:
        """A message for one phone or mobile endpoint. Raises ServiceException."""
        await self._require([message])

    async def shake_hands(self, handshake: Handshake) -> None:
        """Raises ServiceException."""
        await self._require([handshake])

    async def _require(self, records: Sequence[Published | Handshake]) -> None:
        for failure in await self._write(records):
            if failure is not None:
                raise failure

    async def _write(self, records: Sequence[Published | Handshake]) -> list[ServiceException | None]:
        # Begun in their order.
        sends = [self._send(record) for record in records]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        found: list[ServiceException | None] = []
        for end in ends:
            if end is not None and not isinstance(end, ProduceError):
                raise end
            found.append(None if end is None else ServiceException("The message could not be accepted. Please try again."))
        return found

    def _send(self, record: Published | Handshake) -> Awaitable[None]:
        """What is kept in order goes to one partition."""
        if isinstance(record, Handshake) or record.sequence_number is None:
            return self._producer.send(self._names.sns, encode(record))
        group = f"{record.topic_arn} {record.group_id}".encode()
        return self._producer.send(self._names.sns_fifo, encode(record), key=group)
