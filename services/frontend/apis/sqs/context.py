"""What SQS's operations work with, and a queue's settings in both of the places where they are kept.

Postgres says what is true of a queue; the engine has what it needs to know of it, by a revision that only grows. It is told
after the commit; what it has lost or missed it is given when the queue is next used or looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.sqs.errors import OverLimit, QueueDoesNotExist
from shared.domain.arns import Home
from shared.domain.errors import ServiceException
from shared.queues.errors import QueueMissingError, QueueUnavailableError, TooManyInFlightError
from shared.queues.moves import MoveTasks
from shared.queues.queues import Load, Queues
from shared.queues.records import Counts, QueueId, QueueSettings
from shared.queues.settings import settings_of
from shared.registry import sqs as rows
from shared.registry.registry import Registry

UNAVAILABLE = "The queues could not be reached. Try again."


@dataclasses.dataclass(frozen=True)
class SqsContext:
    """deleted_name_wait_s: for how long the name of a queue that was deleted may not be taken again."""

    registry: Registry
    queues: Queues
    moves: MoveTasks
    deleted_name_wait_s: float

    @contextlib.contextmanager
    def using(self, home: Home, name: str) -> Iterator[QueueId]:
        """A queue by what the engine has of it; its errors become SQS's."""
        try:
            yield QueueId(home, name)
        except QueueMissingError as error:
            raise QueueDoesNotExist from error
        except QueueUnavailableError as error:
            raise ServiceException(UNAVAILABLE) from error
        except TooManyInFlightError as error:
            raise OverLimit("Too many messages are in flight.") from error

    async def found(self, home: Home, name: str) -> rows.Queue:
        """Raises QueueDoesNotExist."""
        async with self.registry.read() as connection:
            queue = await rows.find(connection, home.region, name)
        if queue is None:
            raise QueueDoesNotExist
        return queue

    async def locked(self, connection: AsyncConnection, home: Home, name: str) -> rows.Queue:
        """To be changed in this transaction. Raises QueueDoesNotExist."""
        queue = await rows.lock(connection, home.region, name)
        if queue is None:
            raise QueueDoesNotExist
        return queue

    async def tell(self, home: Home, queue: rows.Queue) -> None:
        """Give the engine what was committed."""
        with self.using(home, queue.name) as queue_id:
            await self.queues.install(queue_id, settings_of(queue.attributes, queue.revision))

    async def delete(self, home: Home, name: str) -> None:
        """The engine first: nobody can send any more to what is committed as deleted. Raises QueueDoesNotExist."""
        async with self.registry.write() as connection:
            revision = await rows.remove(connection, home.region, name)
            if revision is None:
                raise QueueDoesNotExist
            with self.using(home, name) as queue_id:
                await self.queues.remove(queue_id, revision)

    async def counts(self, home: Home, queue: rows.Queue) -> Counts:
        """The engine is told again where it has missed a change."""
        with self.using(home, queue.name) as queue_id:
            counts = await self.queues.count(queue_id)
        if counts.revision < queue.revision:
            await self.tell(home, queue)
        return counts


def loader(store: Registry) -> Load:
    """What the engine does not know of a queue, it is told from the registry."""

    async def load(queue: QueueId) -> QueueSettings | None:
        async with store.read() as connection:
            found = await rows.find(connection, queue.home.region, queue.name)
        return None if found is None else settings_of(found.attributes, found.revision)

    return load
