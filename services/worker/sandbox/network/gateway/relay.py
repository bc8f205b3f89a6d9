"""Connections from functions, each carried on to an address outside of their network, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Sequence

CONNECT_TIMEOUT_S = 5.0
PER_SLOT_MAX = 128
"""Connections of one sandbox at one time; further ones are closed."""
ALL_MAX = 1_024
LINGER_S = 10.0
"""What a function has to end a connection that the other side has ended. A frozen one does not: its connection would stay."""
_CHUNK_BYTES = 256 * 1024

Address = tuple[str, int]


class Relay:
    """targets: tried in their order, until one can be connected to."""

    def __init__(
        self,
        targets: Callable[[], Sequence[Address]],
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self._targets = targets
        self._connect_timeout_s = connect_timeout_s
        self._linger_s = linger_s
        self._open: Counter[str] = Counter()

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(self._carry, sock=listener, limit=_CHUNK_BYTES)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slot = writer.get_extra_info("peername")[0]
        if self._open[slot] >= PER_SLOT_MAX or self._open.total() >= ALL_MAX:
            writer.transport.abort()
            return
        self._open[slot] += 1
        try:
            await self._connect_and_copy(reader, writer)
        finally:
            self._open[slot] -= 1
            if not self._open[slot]:
                del self._open[slot]
            writer.transport.abort()

    async def _connect_and_copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await self._connect()
        if far is None:
            return
        far_reader, far_writer = far
        there = asyncio.ensure_future(_copy(reader, far_writer))
        back = asyncio.ensure_future(_copy(far_reader, writer))
        try:
            await back
            await asyncio.wait([there], timeout=self._linger_s)
        finally:
            there.cancel()
            back.cancel()
            far_writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for host, port in self._targets():
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    return await asyncio.open_connection(host, port, limit=_CHUNK_BYTES)
            except OSError:  # TimeoutError is one, and so is a name that does not resolve.
                continue
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of what comes, which is passed on. A connection that breaks ends both ways."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return
    writer.transport.abort()
