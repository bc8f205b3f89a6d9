"""One HTTP/1.1 connection of a sandbox's process. Bounded: headers, body, one request at a time, and one answer on its way.

It is read only as far as the sandbox may have work done (work_budget.py), as its last answer was taken, and as whoever takes a
streamed response can go on; the sender waits meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import Any, Protocol, cast

import httptools

from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.spec import ResponseStream
from services.worker.sandbox.work_budget import (
    BYTES_A_STEP,
    CONNECTION_STEPS,
    HEADER_STEPS,
    PIECE_STEPS,
    READ_STEPS,
    REQUEST_STEPS,
    WorkBudget,
)
from shared.domain.limits import STREAMED_RESPONSE_BYTES_MAX

HEADER_BYTES_MAX = 1_200_000
"""A runtime may send the cause of an error, up to a megabyte, in a header."""
ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"
RESPONSE_MODE = "lambda-runtime-function-response-mode"
CONTENT_TYPE = "content-type"
_EXPECT = "expect"
EXTENSION_ID = "lambda-extension-identifier"
EXTENSION_NAME = "lambda-extension-name"
EXTENSION_FEATURES = "lambda-extension-accept-feature"
EXTENSION_ERROR_TYPE = "lambda-extension-function-error-type"
_KEPT = frozenset(
    (
        ERROR_TYPE,
        ERROR_BODY,
        RESPONSE_MODE,
        CONTENT_TYPE,
        EXTENSION_ID,
        EXTENSION_NAME,
        EXTENSION_FEATURES,
        EXTENSION_ERROR_TYPE,
        _EXPECT,
    )
)
"""Headers that mean something here: no other is held."""
_READ_BYTES = 64 * 1024
_HEAD_PIECE_BYTES, _CHUNKS_PIECE_BYTES, _SILENT_PIECE_BYTES = 2_048, 8_192, 8_192
"""What is parsed without a look at the budget: about a millisecond, if it is made of the smallest parts. In the middle of a
header more, for the parser copies what it has of it each time."""

_buffer = bytearray(_READ_BYTES)
"""Every connection's: what was read is out of it before the next one reads."""


class Request:
    """truncated: the sender ended in the middle. last: the sender wants the connection closed behind the answer.
    body_bytes_max: so much of the body is wanted; none at first.
    body_size: of what was sent. stream: who took the body piece by piece; body is empty then. headers: those that mean
    something here, with the trailers once the body has ended."""

    __slots__ = ("body", "body_bytes_max", "body_size", "headers", "last", "method", "path", "stream", "truncated")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body_bytes_max = 0
        self.body = b""
        self.body_size = 0
        self.truncated = False
        self.last = False
        self.stream: ResponseStream | None = None


class Api(Protocol):
    def on_head(self, connection: Connection, request: Request) -> None:
        """The headers are there: decide what becomes of the body."""

    def may_hold(self, more_bytes: int) -> bool:
        """Whether heads of requests may take so many more bytes (fewer, if negative)."""

    def on_request(self, connection: Connection, request: Request) -> None: ...
    def on_closed(self, connection: Connection) -> None: ...


class Connection(asyncio.BufferedProtocol):
    def __init__(self, api: Api, budget: WorkBudget) -> None:
        self._api = api
        self._budget = budget
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._length: int | None = None
        self._header_bytes = 0
        self._silent_bytes = 0
        self._heard = False
        self._held_bytes = 0
        self._unparsed = b""
        self._queued: deque[Request] = deque()
        self._busy = False
        self._last = False
        self._closing = False
        self._taken = True
        self._paused_by_taker = False
        self._reading = True
        self._was_reset = False

    @property
    def taken(self) -> bool:
        """Nothing that was answered waits to be read."""
        return self._taken

    def lost_what_was_sent(self) -> bool:
        """Whether the other end has gone away before it had taken all of it, as the kernel says of the connection."""
        if self._was_reset or not self._taken:
            return True
        if self._transport is None:
            return False
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as same:
            return same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=0)
        self._budget.spend(CONNECTION_STEPS)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._was_reset = error is not None
        self._let_go()
        self._api.on_closed(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._budget.spend(READ_STEPS + nbytes // BYTES_A_STEP)
        data = bytes(memoryview(_buffer)[:nbytes])
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._go_on()

    def eof_received(self) -> bool:
        if self._request is not None and self._request.method:
            self._request.truncated = True
            self.on_message_complete()
        return False

    def pause_writing(self) -> None:
        self._taken = False

    def resume_writing(self) -> None:
        self._taken = True
        self._go_on()

    # httptools

    def on_message_begin(self) -> None:
        self._heard = True
        self._request = Request()
        self._body = []
        self._header_bytes = 0
        self._length = None

    def on_url(self, url: bytes) -> None:
        assert self._request is not None
        self._count(len(url))
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._request is not None
        self._budget.spend(HEADER_STEPS)
        self._count(len(name) + len(value))
        key = name.decode("latin-1").lower()
        if key in _KEPT:
            self._request.headers[key] = value.decode("latin-1")
        elif key == "content-length" and value.isdigit():
            self._length = int(value)

    def on_headers_complete(self) -> None:
        assert self._request is not None
        self._budget.spend(REQUEST_STEPS)
        self._request.method = self._parser.get_method().decode("latin-1")
        self._request.last = not self._parser.should_keep_alive()
        if self._request.headers.get(_EXPECT, "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._busy:
            self._api.on_head(self, self._request)

    def on_body(self, body: bytes) -> None:
        assert self._request is not None
        self._heard = True
        self._budget.spend(PIECE_STEPS)
        request = self._request
        room = (request.body_bytes_max if request.stream is None else STREAMED_RESPONSE_BYTES_MAX) - request.body_size
        request.body_size += len(body)
        if room > 0:
            self._body.append(body[:room])

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        assert request is not None
        self._heard = True
        if request.stream is not None:
            self._pass_on(request.stream)
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._header_bytes = 0
        if self._busy or not self._taken or self._queued:
            # Of one piece that was parsed at once: nothing behind it is, before these are answered.
            self._queued.append(request)
            return
        self._give_out(request)

    # The API's

    def reply(self, *parts: bytes) -> None:
        """Answer the request that was given out; the next one that is already here follows once this is taken."""
        self._busy = False
        if self._transport is not None:
            for part in parts:
                self._budget.spend(len(part) // BYTES_A_STEP)
            if self._last:
                self._transport.writelines((replies.closing(parts[0]), *parts[1:]))
                self._transport.close()
                self._unparsed = b""
                self._closing = True
                return
            self._transport.writelines(parts)
        if self._queued and self._taken:
            self._answer_queued()
        elif self._unparsed:
            # Not from here: whoever parses may be the one that calls.
            asyncio.get_running_loop().call_soon(self._go_on)

    def pause(self) -> None:
        self._paused_by_taker = True
        self._read_or_wait()

    def resume(self) -> None:
        self._paused_by_taker = False
        self._go_on()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # How far it is read

    def _go_on(self) -> None:
        """Parse what is here, as far as that may be now, and read on when all of it is parsed."""
        if self._queued and not self._busy and self._taken:
            self._answer_queued()
        data, at = self._unparsed, 0
        self._unparsed = b""
        while at < len(data) and self._parser is not None and not self._waits():
            size = self._piece_bytes(len(data) - at)
            if not self._feed(data if size >= len(data) else data[at : at + size]):
                return
            at += size
        self._unparsed = data[at:] if self._parser is not None else b""
        self._read_or_wait()

    def _waits(self) -> bool:
        return (
            self._closing
            or self._busy
            or not self._taken
            or self._paused_by_taker
            or bool(self._queued)
            or self._budget.is_over()
        )

    def _piece_bytes(self, left: int) -> int:
        request = self._request
        if request is None or not request.method:
            return min(left, _SILENT_PIECE_BYTES if self._silent_bytes else _HEAD_PIECE_BYTES)
        if self._length is None:
            return min(left, _CHUNKS_PIECE_BYTES)
        return min(left, max(self._length - request.body_size, _HEAD_PIECE_BYTES))

    def _feed(self, piece: bytes) -> bool:
        """False when it was no HTTP, or too much: the connection ends."""
        self._heard = False
        try:
            self._parser.feed_data(piece)
            self._silent_bytes = 0 if self._heard else self._silent_bytes + len(piece)
            self._budget.spend(self._silent_bytes // BYTES_A_STEP)
            # A header is told once it is whole; until then the parser holds it.
            if self._silent_bytes > HEADER_BYTES_MAX or not self._hold(self._silent_bytes + self._header_bytes):
                raise replies.headers_too_large()
        except replies.ApiError as failure:
            self._refuse(failure)
            return False
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, replies.ApiError) else replies.bad_request())
            return False
        if self._request is not None and self._request.stream is not None:
            self._pass_on(self._request.stream)
        return True

    def _read_or_wait(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        open_ended = self._taken and not self._paused_by_taker
        over = not self._busy and self._budget.is_over()
        if over and open_ended and not self._queued:
            self._budget.wait(self._go_on)
        # While a request waits for its answer it is read on, until there is something: so its end is seen.
        reads = not self._unparsed and open_ended and not over
        if reads != self._reading:
            self._reading = reads
            if reads:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _answer_queued(self) -> None:
        self._give_out(self._queued.popleft())

    def _give_out(self, request: Request) -> None:
        self._busy = True
        self._last = request.last
        self._api.on_request(self, request)

    def _pass_on(self, stream: ResponseStream) -> None:
        """What one piece brought goes on in one."""
        pieces, self._body = self._body, []
        if pieces:
            stream.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _count(self, size: int) -> None:
        self._heard = True
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX:
            raise replies.headers_too_large()

    def _hold(self, size: int) -> bool:
        more, self._held_bytes = size - self._held_bytes, size
        return not more or self._api.may_hold(more)

    def _refuse(self, failure: replies.ApiError) -> None:
        self._let_go()
        if self._transport is not None:
            self._transport.write(replies.error(failure, close=True))
            self._transport.close()

    def _let_go(self) -> None:
        """Of what is held; the parser knows this connection, which would keep it until somebody looks for circles."""
        self._parser = self._request = None
        self._body = []
        self._unparsed = b""
        self._hold(0)
