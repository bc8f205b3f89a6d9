"""What is handed over once, to targets that cannot tell a second delivery from a second event.

A delivery may come twice: a scheduler died between handing a firing over and noting it, a router before it settled an offset.
Redis remembers who hands it over now, and that it was; who dies in between leaves a claim that ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from prometheus_client import Counter

from services.router.deliveries.contract import DeliveryError
from shared.queues.errors import QueueUnavailableError

SUPPRESSED = Counter("lambdad_deliveries_suppressed_total", "Deliveries that came again and had been handed over before")

UNDER_WAY, DONE = b"under way", b"done"
CLAIMED_MS = 30_000
"""Longer than a hand-over may take."""
REMEMBERED_S = 15 * 60
LOOK_S = 0.1
WAIT_S_MAX = 2 * CLAIMED_MS / 1_000


class Memory(Protocol):
    """`shared.queues.Queues`: commands of Redis by their words; both raise QueueUnavailableError."""

    async def command(self, *words: str | bytes | int) -> object: ...

    async def command_with_room(self, *words: str | bytes | int) -> object: ...


class HandingOver:
    """memory: the Redis that remembers. While it is away or full everything is handed over, as if for the first time."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def once(self, delivery_id: str, hand_over: Callable[[], Awaitable[None]]) -> None:
        """Unless it was done in the last quarter of an hour. Raises what `hand_over` raises, and then it may be done again;
        DeliveryError while others are at it without an end."""
        key = f"handed-over:{delivery_id}"
        if not await self._claim(key):
            SUPPRESSED.inc()
            return
        try:
            await hand_over()
        except BaseException:
            with contextlib.suppress(QueueUnavailableError):
                await self._memory.command("DEL", key)
            raise
        with contextlib.suppress(QueueUnavailableError):
            await self._memory.command_with_room("SET", key, DONE, "EX", REMEMBERED_S)

    async def _claim(self, key: str) -> bool:
        """False where it was handed over. Who finds another at it waits for how that ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S_MAX):
                while True:
                    try:
                        found = await self._memory.command_with_room("SET", key, UNDER_WAY, "NX", "GET", "PX", CLAIMED_MS)
                    except QueueUnavailableError:
                        return True
                    if found is None or found == DONE:
                        return found is None
                    await asyncio.sleep(LOOK_S)
        raise DeliveryError("others are handing it over, one after the other")
