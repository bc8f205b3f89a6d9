"""An endpoint behind a forwarded service that does exactly what a test wants, and keeps what it got."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.support import PATIENCE_S

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "FakeTarget"], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class FakeTarget:
    """head, body: of the request that came last, as far as it came. ended: the connection of the last request was over."""

    def __init__(self, behave: Behave) -> None:
        self._behave = behave
        self.requests = 0
        self.head = b""
        self.body = bytearray()
        self._arrival = asyncio.Condition()
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.url = ""

    def headers(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines if line)]

    async def read_head(self, reader: asyncio.StreamReader) -> None:
        async with asyncio.timeout(PATIENCE_S):
            self.head = await reader.readuntil(b"\r\n\r\n")
        self.body.clear()
        self.requests += 1
        self.began.set()

    async def received(self, size_bytes: int) -> None:
        """Waits until so much of a body has come."""
        async with asyncio.timeout(PATIENCE_S):
            async with self._arrival:
                await self._arrival.wait_for(lambda: len(self.body) >= size_bytes)

    async def read_body(self, reader: asyncio.StreamReader) -> bool:
        """Whether all of it came."""
        length = int(dict(self.headers()).get(b"content-length", b"0"))
        async with asyncio.timeout(PATIENCE_S):
            while len(self.body) < length:
                piece = await reader.read(65_536)
                if not piece:
                    return False
                self.body += piece
                async with self._arrival:
                    self._arrival.notify_all()
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._behave(reader, writer, self)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            writer.close()


@contextlib.asynccontextmanager
async def target(behave: Behave) -> AsyncIterator[FakeTarget]:
    fake = FakeTarget(behave)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake: FakeTarget) -> None:
    await fake.read_head(reader)
    if await fake.read_body(reader):
        writer.write(OK)
        await writer.drain()


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake: FakeTarget) -> None:
    del writer
    await fake.read_head(reader)
    await reader.read()


async def breaks_off_before_its_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake: FakeTarget) -> None:
    del writer
    await fake.read_head(reader)
    await fake.read_body(reader)


async def breaks_off_in_its_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake: FakeTarget) -> None:
    await fake.read_head(reader)
    await fake.read_body(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\nx-amz-request-id: r\r\n\r\n" + b"x" * 300_000)
    await writer.drain()


async def answers_oddly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fake: FakeTarget) -> None:
    """In chunks, with headers that are for one hop, and two of one name."""
    await fake.read_head(reader)
    await fake.read_body(reader)
    writer.write(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\n"
        b"set-cookie: a=1\r\nset-cookie: b=2\r\nx-amz-meta-kept: yes\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    await writer.drain()
