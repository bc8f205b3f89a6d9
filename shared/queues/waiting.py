"""Who waits for a message of which queue, and who is woken when there may be one.

Everything runs on the event loop. A receiver takes its place before it asks Redis, so that nothing that is published between
the reply and its wait is missed. One that is woken and does not come to ask passes its turn on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from shared.queues.errors import QueueUnavailableError

WAITING_MAX = 20_000
Place = asyncio.Future[bool]
"""Done when its owner is to ask Redis: true because something was due, false because something was published."""


class _Line:
    """The receivers of one queue, the longest waiting first. timer: wakes one when something is due."""

    __slots__ = ("places", "timer")

    def __init__(self) -> None:
        self.places: deque[Place] = deque()
        self.timer: asyncio.TimerHandle | None = None


class Waiting:
    """The receivers of one process."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._count = 0

    def take_place(self, stream: str) -> Place:
        """To be given back by `leave`. Raises QueueUnavailableError when too many wait already."""
        if self._count >= WAITING_MAX:
            raise QueueUnavailableError("too many receivers wait for messages")
        place: Place = asyncio.get_running_loop().create_future()
        self._lines.setdefault(stream, _Line()).places.append(place)
        self._count += 1
        return place

    async def wait(self, place: Place, timeout_s: float) -> None:
        """Returns when there may be a message, and after the timeout."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(place)

    def leave(self, stream: str, place: Place, *, asks: bool) -> None:
        """asks: whether its owner goes on to ask Redis. If not, and it was woken, another's turn it is."""
        self._count -= 1
        line = self._lines.get(stream)
        if not place.done():
            place.cancel()
            if line is not None:
                line.places.remove(place)
                self._forget(stream, line)
        elif not asks:
            self.wake(stream, 1)

    def wake(self, stream: str, count: int, *, due: bool = False) -> None:
        """due: because of the time, of which the others knew as well, and of what is due next they do not."""
        line = self._lines.get(stream)
        if line is None:
            return
        while line.places and count > 0:
            place = line.places.popleft()
            if not place.done():
                place.set_result(due)
                count -= 1
        self._forget(stream, line)

    def wake_all(self) -> None:
        """Whatever was published while there was no connection was not heard."""
        for stream, line in list(self._lines.items()):
            self.wake(stream, len(line.places))

    def due(self, stream: str, in_s: float) -> None:
        """One is to be woken at that time, unless one is woken earlier by this anyway."""
        line = self._lines.get(stream)
        if line is None or not line.places:
            return
        loop = asyncio.get_running_loop()
        if line.timer is not None:
            if line.timer.when() <= loop.time() + in_s:
                return
            line.timer.cancel()
        line.timer = loop.call_later(in_s, self._is_due, stream)

    def published(self, message: bytes) -> None:
        """`<stream> <count of messages that are visible now> <in how many ms one will be>`"""
        stream, count, due_ms = message.decode().rsplit(" ", 2)
        if int(count):
            self.wake(stream, int(count))
        if int(due_ms):
            self.due(stream, int(due_ms) / 1_000)

    def _is_due(self, stream: str) -> None:
        line = self._lines.get(stream)
        if line is not None:
            line.timer = None
            self.wake(stream, 1, due=True)

    def _forget(self, stream: str, line: _Line) -> None:
        if not line.places and self._lines.get(stream) is line:
            if line.timer is not None:
                line.timer.cancel()
            del self._lines[stream]
