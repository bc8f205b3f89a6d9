"""Connections from functions, each carried on to an address outside of their network, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence

from services.worker.sandbox.network.gateway.shares import Shares

CONNECT_TIMEOUT_S = 5.0
LINGER_S = 10.0
"""What a function has to end a connection that the other side has ended. A frozen one does not: its connection would stay."""
_CHUNK_BYTES = 64 * 1024
"""So much, a few times, is held for a function that asks and does not read: it is not that function's memory."""

Address = tuple[str, int]


class Relay:
    """targets: tried in their order, until one can be connected to. lasts_s: how long a connection may; None for ever."""

    def __init__(
        self,
        targets: Callable[[], Sequence[Address]],
        shares: Shares,
        *,
        lasts_s: float | None = None,
        linger_s: float = LINGER_S,
    ) -> None:
        self._targets = targets
        self._shares = shares
        self._lasts_s = lasts_s
        self._linger_s = linger_s

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(self._carry, sock=listener, limit=_CHUNK_BYTES)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        # One that has gone already has no name.
        if peer is None or not self._shares.make_room(peer[0]):
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._shares.add(peer[0], task)
        try:
            async with asyncio.timeout(self._lasts_s):
                await self._connect_and_copy(reader, writer)
        except TimeoutError:
            pass
        finally:
            self._shares.remove(peer[0], task)
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
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
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
