"""What Redis does not know of a queue, from where it is kept."""

from __future__ import annotations

from shared.queues.records import QueueId, QueueSettings
from shared.queues.settings import settings_of
from shared.registry import sqs
from shared.registry.registry import Registry


async def settings_of_queue(registry: Registry, account_id: str, queue: QueueId) -> QueueSettings | None:
    """None for a queue that does not exist, or of another account. Raises ServiceException."""
    if queue.home.account_id != account_id:
        return None
    async with registry.read() as connection:
        found = await sqs.find(connection, queue.home.region, queue.name)
    return None if found is None else settings_of(found.attributes, found.revision)
