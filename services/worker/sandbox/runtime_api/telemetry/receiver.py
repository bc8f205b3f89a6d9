"""Sending a batch of telemetry to a server in the sandbox: by HTTP, or as lines over TCP. The server is not trusted: it gets a
bounded time, and what it answers is read to a bounded size."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import httptools

from services.worker.sandbox.network.addresses import RUNTIME_API
from services.worker.sandbox.runtime_api.telemetry.subscription import HOSTS, Subscription

ANSWER_BYTES_MAX = 64 * 1024
_READ_BYTES = 16 * 1024

NewSocket = Callable[[], Awaitable[socket.socket]]
"""Makes a socket of the sandbox's network."""


class DeliveryError(Exception):
    """A batch was not taken."""


class Receiver:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, subscription: Subscription, new_socket: NewSocket) -> None:
        self._subscription = subscription
        self._new_socket = new_socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, batch: Sequence[bytes]) -> None:
        """batch: JSON documents. No deadline of its own; raises DeliveryError, and SandboxError."""
        kept = self._streams is not None
        try:
            await self._send(batch)
        except (OSError, EOFError, httptools.HttpParserError) as error:
            self.close()
            if not kept:
                raise DeliveryError(str(error) or type(error).__name__) from error
            await self._send_anew(batch)
        except BaseException:
            self.close()
            raise

    async def _send_anew(self, batch: Sequence[bytes]) -> None:
        """A connection that was kept may have been closed by the server meanwhile."""
        try:
            await self._send(batch)
        except (OSError, EOFError, httptools.HttpParserError) as error:
            self.close()
            raise DeliveryError(str(error) or type(error).__name__) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

    async def _send(self, batch: Sequence[bytes]) -> None:
        if self._streams is None:
            self._streams = await self._connect()
        reader, writer = self._streams
        if self._subscription.path is None:
            writer.write(b"\n".join(batch) + b"\n")
            await writer.drain()
            return
        body = b"[" + b",".join(batch) + b"]"
        writer.write(self._head(len(body)) + body)
        await writer.drain()
        answer = _Answer()
        while not answer.complete:
            data = await reader.read(_READ_BYTES)
            if not data:
                raise EOFError("the connection was closed before there was an answer")
            answer.feed(data)
        if not answer.keeps_alive:
            self.close()
        if answer.status >= 400:
            raise DeliveryError(f"the receiver answered {answer.status}")

    def _head(self, size: int) -> bytes:
        subscription = self._subscription
        return (
            f"{subscription.method} {subscription.path} HTTP/1.1\r\nHost: {HOSTS[0]}:{subscription.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        ).encode()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = await self._new_socket()
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (RUNTIME_API, self._subscription.port))
            async with asyncio.timeout(1.0):
                return await asyncio.open_connection(sock=sock, limit=ANSWER_BYTES_MAX)
        except BaseException:
            sock.close()
            raise


class _Answer:
    """Of one request, to httptools."""

    def __init__(self) -> None:
        self.complete = False
        self.status = 0
        self.keeps_alive = False
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            raise DeliveryError("the receiver answers too much")
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        # An interim answer (100) is none.
        self.status = self._parser.get_status_code()
        self.complete = self.status >= 200
        self.keeps_alive = self._parser.should_keep_alive()
