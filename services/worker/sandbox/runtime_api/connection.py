"""One HTTP/1.1 connection of a runtime. Bounded: headers, body, and one request at a time."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

import httptools

from services.worker.sandbox.runtime_api import replies
from services.worker.sandbox.spec import ResponseStream
from shared.domain.limits import RESPONSE_BYTES_MAX, STREAMED_RESPONSE_BYTES_MAX

HEADER_BYTES_MAX = 1_200_000
"""A runtime may send the cause of an error, up to a megabyte, in a header."""
_QUEUED_MAX = 16


class Request:
    """truncated: the sender ended in the middle. body_size: of what was sent; body holds no more than the limit.
    stream: who took the body piece by piece; body is empty then. headers: with the trailers, once the body has ended."""

    __slots__ = ("body", "body_size", "headers", "method", "path", "stream", "truncated")

    def __init__(self) -> None:
        self.method = ""
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.body_size = 0
        self.truncated = False
        self.stream: ResponseStream | None = None


class Api(Protocol):
    def on_head(self, connection: Connection, request: Request) -> ResponseStream | None:
        """The headers are there: who takes the body piece by piece, None to have it whole."""

    def on_request(self, connection: Connection, request: Request) -> None: ...
    def on_closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    def __init__(self, api: Api) -> None:
        self._api = api
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._header_bytes = 0
        self._queued: list[Request] = []
        self._busy = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._api.on_closed(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except replies.ApiError as failure:
            self._refuse(failure)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, replies.ApiError) else replies.bad_request())

    def eof_received(self) -> bool:
        if self._request is not None and self._request.method:
            self._request.truncated = True
            self.on_message_complete()
        return False

    # httptools

    def on_message_begin(self) -> None:
        self._request = Request()
        self._body = []
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        assert self._request is not None
        self._count(url)
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._request is not None
        self._count(name, value)
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._request is not None
        self._request.method = self._parser.get_method().decode("latin-1")
        if self._request.headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._busy:
            self._request.stream = self._api.on_head(self, self._request)

    def on_body(self, body: bytes) -> None:
        assert self._request is not None
        request = self._request
        room = (RESPONSE_BYTES_MAX if request.stream is None else STREAMED_RESPONSE_BYTES_MAX) - request.body_size
        request.body_size += len(body)
        if room <= 0:
            return
        if request.stream is None:
            self._body.append(body[:room])
        else:
            request.stream.write(body[:room])

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        assert request is not None
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        if self._busy:
            if len(self._queued) >= _QUEUED_MAX:
                raise replies.bad_request()
            self._queued.append(request)
            return
        self._busy = True
        self._api.on_request(self, request)

    # The API's

    def reply(self, data: bytes) -> None:
        """Answer the request that was given out; the next one that is already here follows."""
        self._busy = False
        if self._transport is not None:
            self._transport.write(data)
        if self._queued:
            self._busy = True
            self._api.on_request(self, self._queued.pop(0))

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _count(self, *parts: bytes) -> None:
        self._header_bytes += sum(map(len, parts))
        if self._header_bytes > HEADER_BYTES_MAX:
            raise replies.headers_too_large()

    def _refuse(self, failure: replies.ApiError) -> None:
        if self._transport is not None:
            self._transport.write(replies.error(failure, close=True))
            self._transport.close()
