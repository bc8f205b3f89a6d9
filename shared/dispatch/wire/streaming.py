"""A response as its caller reads it while the function writes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable


class ResponseStream:
    """Given to `Dispatcher.start`, which feeds it; read by one task.

    `begun` says whether the function streams at all: if not, its whole response is the invocation's result. What was not read
    yet is bounded: the worker gets credit for more only when a piece has been dealt with. `end` is called when the invocation
    has ended, however it did.
    """

    def __init__(self) -> None:
        self.content_type: str | None = None
        self.executed_version = ""
        self._pieces: deque[bytes] = deque()
        self._used: Callable[[int], None] | None = None
        self._moved = asyncio.Event()
        self._ended = False
        self._discarded = False

    # The reader's

    async def begun(self) -> bool:
        """Waits until the function streams (True) or the invocation has ended without (False)."""
        while self.content_type is None and not self._ended:
            await self._wait()
        return self.content_type is not None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Every piece as it comes, to the end. Asking for the next says that the last one was dealt with."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                yield piece
                if self._used is not None:
                    self._used(len(piece))
            if self._ended:
                return
            await self._wait()

    def discard(self) -> None:
        """Nobody reads any more: what is there and what still comes counts as dealt with, and the function writes on."""
        self._discarded = True
        pieces, self._pieces = self._pieces, deque()
        if pieces and self._used is not None:
            self._used(sum(map(len, pieces)))

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    # The dispatcher's

    def begin(self, content_type: str, used: Callable[[int], None]) -> None:
        """used: told of bytes that were dealt with."""
        self.content_type = content_type
        self._used = used
        self._moved.set()

    def feed(self, piece: bytes) -> None:
        if self._discarded:
            if self._used is not None:
                self._used(len(piece))
            return
        self._pieces.append(piece)
        self._moved.set()

    def end(self) -> None:
        self._ended = True
        self._moved.set()
