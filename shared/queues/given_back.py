"""What nobody waits for any more when it comes out of a queue goes back, as if nobody had asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from shared.queues.errors import QueueError
from shared.queues.records import QueueId, Received

Release = Callable[[QueueId, Sequence[str]], Awaitable[None]]
"""Takes receives back, by their receipt handles."""


class Found(msgspec.Struct, frozen=True):
    """What there was to receive. count: dead letters that were moved included. due_ms: until there may be something, -1
    unknown. wait_ms: how long the receiver is to wait. over: as many messages are in flight as may be."""

    due_ms: int
    wait_ms: int
    over: bool
    count: int
    messages: list[Received]


class GivenBack:
    """The receives of one process whose receivers were cancelled in the middle of them."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait(self, queue: QueueId, look: Coroutine[Any, Any, Found]) -> Found:
        """The look's result. Who is cancelled leaves it to its end, which Redis's deadline bounds, and its messages go back."""
        looking = asyncio.create_task(look)
        try:
            return await asyncio.shield(looking)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._give_back(queue, looking), name="give-back")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            raise

    async def settle(self) -> None:
        """Once everything is given back."""
        await asyncio.gather(*self._tasks)

    async def _give_back(self, queue: QueueId, looking: asyncio.Task[Found]) -> None:
        try:
            found = await looking
            if found.messages:
                await self._release(queue, [message.receipt_handle for message in found.messages])
        except QueueError:
            # The queue is gone, or Redis is: then they come again when their time is over.
            return
