"""uvicorn's httptools protocol with the bounds it lacks: deadlines for headers, bodies and slow readers, sizes, pipelining.

A connection is in one phase at a time and has one deadline. No timer is set per request: `FrontendServer` sweeps all
connections twice a second, which costs nothing on the invoke path and cuts a dribbling client within half a second.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Coroutine
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.frontend.edge.bodies import ClientGoneError
from services.frontend.edge.canned import HEADERS_TOO_LARGE, MALFORMED, TOO_MANY_CONNECTIONS, TOO_SLOW
from services.frontend.edge.http_bounds import HttpBounds
from services.frontend.edge.room import make_room

log = logging.getLogger("lambdad.frontend.http")

PIPELINED_REQUESTS_MAX = 32
LINGER_S = 10.0
REFUSED_LINGER_S = 1.0
"""Of who sent something that is no request, or not in time: it has held its place long enough."""
LINGER_BYTES_MAX = 128 * 1024 * 1024
"""After an early answer the rest of the request is read and thrown away up to here, so that the client can see the answer."""
NEVER = float("inf")
JOINED_BYTES_MAX = 64 * 1024
EXCHANGE = "lambdad.exchange"
"""Scope key: the `Exchange` itself, for the one application that writes its answer directly."""
Serve = Callable[["Exchange"], bool]
"""Takes a request over, whole or not, and answers it now or later; or leaves it (False) to the application."""


class Phase(enum.IntEnum):
    IDLE = 0  # between requests; the deadline is the keep-alive timeout
    HEAD = 1  # request line and headers are coming in
    BODY = 2  # the body is coming in
    ANSWERING = 3  # the application's turn; it has its own deadlines
    LINGER = 4  # answered before the body's end; what still comes is thrown away
    DEAD = 5  # no further request of this connection is looked at


def protocol_class(bounds: HttpBounds, serve: Serve) -> type[BoundedHttpProtocol]:
    """The protocol with these bounds: uvicorn makes the instances itself and passes nothing along."""
    return type("FrontendHttpProtocol", (BoundedHttpProtocol,), {"bounds": bounds, "serve": staticmethod(serve)})


class BoundedHttpProtocol(HttpToolsProtocol):
    bounds: HttpBounds
    serve: Serve

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.proven = False
        """A request of this connection had a valid signature."""
        self._phase = Phase.IDLE
        self._deadline = NEVER
        self._idle_since = 0.0
        self.half_closed = False
        """The client has said that it sends no more."""
        self._has_host = False
        self._active: Exchange | None = None
        self._coming: Exchange | None = None
        """The next to be active: its turn has come, but not all of it."""
        self._head_bytes = 0
        self._linger_bytes = 0
        self._unsent = 0
        self._unsent_since = 0.0
        # uvicorn keeps its own keep-alive timer per response; the sweep does that here.
        self.timeout_keep_alive_task = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._deadline = self._idle_since + self.bounds.header_timeout_s
        if len(self.connections) > self.bounds.room.looked_at and not self._has_room():
            # Closed at once: whoever is over the bound must not cost more than this.
            self._phase = Phase.DEAD
            transport.write(TOO_MANY_CONNECTIONS)
            transport.close()

    def _has_room(self) -> bool:
        """Whether this connection may stay; another one may have had to go for it."""
        others = [one for one in self.connections if isinstance(one, BoundedHttpProtocol) and one is not self]
        return make_room([one for one in others if one._phase != Phase.DEAD], self.address, self.bounds.room, self.loop.time())

    @property
    def address(self) -> str:
        return self.client[0] if self.client is not None else ""

    def waits_since(self) -> float | None:
        """Since when it has been for the client to go on, by the loop's clock; None while it is not."""
        if self._phase == Phase.IDLE:
            return self._idle_since
        if self._phase == Phase.HEAD:
            return self._deadline - self.bounds.header_timeout_s
        if self._phase == Phase.BODY and not self.flow.read_paused:
            return self._deadline - self.bounds.body_timeout_s
        return self._deadline - LINGER_S if self._phase == Phase.LINGER else None

    def give_way(self) -> None:
        self._phase = Phase.DEAD
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = Phase.DEAD
        super().connection_lost(exc)
        self.pipeline.clear()
        active = self._active
        if active is not None and not active.response_complete:
            active.disconnected = True
            active.message_event.set()
            if active.cancel is not None and (active.ends_with_client or self.bounds.cancel_on_disconnect):
                active.cancel()
            elif active.cancel is not None:
                active.outlive()

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase >= Phase.LINGER:
            self._linger_bytes += len(data)
            if self._linger_bytes > LINGER_BYTES_MAX:
                self.transport.abort()
            return
        if phase == Phase.IDLE:
            self._phase = Phase.HEAD
            self._head_bytes = 0
            self._deadline = self.loop.time() + self.bounds.header_timeout_s
        if self._phase == Phase.HEAD:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is upgraded: an `Upgrade: h2c` client is answered in HTTP/1.1, and what follows is not parsed.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._refuse(HEADERS_TOO_LARGE if isinstance(error.__context__, _TooLargeError) else MALFORMED)
        else:
            if self._phase == Phase.HEAD and self._head_bytes > self.bounds.header_bytes_max:
                self._refuse(HEADERS_TOO_LARGE)
        coming, self._coming = self._coming, None
        if coming is not None and self._phase < Phase.LINGER:
            # Its body is late or large: whoever serves it reads it as it comes.
            self._turn(coming)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: it may have closed its half of the connection alone, and what it asked for whole is
        answered before the connection ends. Closing both halves looks the same from here, until something is written.

        True keeps our half open. Not where such a client counts as gone, nor for a request that is not all there.
        """
        self.half_closed = True
        latest, bound = self.cycle, self._active is not None and self._active.ends_with_client
        if self._phase != Phase.ANSWERING or latest is None or bound or self.bounds.cancel_on_disconnect:
            return False
        latest.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._has_host = False
        if self._phase != Phase.HEAD:
            # A pipelined request; how much of this chunk was its head is not known, so it starts at nothing.
            self._phase = Phase.HEAD
            self._head_bytes = 0
            self._deadline = self.loop.time() + self.bounds.header_timeout_s

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != Phase.HEAD:
            return  # A trailer: nothing here wants one, and it must not pass for a header.
        name = name.lower()
        if name == b"host":
            if self._has_host:
                raise httptools.HttpParserError("two Host headers")
            self._has_host = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._head_bytes > self.bounds.header_bytes_max:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.bounds.header_bytes_max:
                raise _TooLargeError
        if len(self.pipeline) >= PIPELINED_REQUESTS_MAX:
            raise httptools.HttpParserError("too many pipelined requests")
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": self.parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": {},
        }
        self.scope = cast("Any", scope)
        before = self.cycle
        exchange = Exchange(self, scope, keep_alive=version != "1.0" and self.parser.should_keep_alive())
        self.cycle = exchange
        self._phase = Phase.BODY
        self._deadline = self.loop.time() + self.bounds.body_timeout_s
        if before is None or before.response_complete:
            self._coming = exchange
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _turn(self, exchange: Exchange) -> None:
        """It is the request's turn to be served: those before it were answered."""
        if self.transport.is_closing():
            return
        self._active = exchange
        if not self.serve(exchange):
            # Not before: the circle would leave every invocation to the garbage collector.
            cast("dict[str, Any]", exchange.scope)[EXCHANGE] = exchange
            exchange.run(exchange.run_asgi(self.app))

    def on_message_complete(self) -> None:
        self._phase = Phase.ANSWERING
        self._deadline = NEVER
        super().on_message_complete()
        coming, self._coming = self._coming, None
        if coming is not None:
            self._turn(coming)

    def on_response_complete(self) -> None:
        """The exchange calls this after its last byte was written and the connection stays open."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            exchange, _ = self.pipeline.pop()
            self._turn(cast("Exchange", exchange))
        elif self._phase == Phase.ANSWERING:
            self._phase = Phase.IDLE
            self._idle_since = self.loop.time()
            self._deadline = self._idle_since + self.bounds.keep_alive_timeout_s

    def extend_body(self) -> None:
        if self._phase == Phase.BODY:
            self._deadline = self.loop.time() + self.bounds.body_timeout_s

    def cancel_active(self) -> None:
        """At the server's stop: end what was taken over and runs still without a task. The server cancels the tasks itself."""
        active = self._active
        if active is not None and active.cancel is not None and (active.task is None or active.task.done()):
            active.cancel()

    def finish_connection(self, *, body_pending: bool, linger_s: float = LINGER_S) -> None:
        """Close after the answer. A client that is still sending would lose the answer to a reset, so it may finish first."""
        if self.transport.is_closing():
            return
        if not body_pending:
            self.transport.close()
            return
        self._phase = Phase.LINGER
        self._deadline = self.loop.time() + linger_s
        self.flow.resume_reading()
        try:
            self.transport.write_eof()
        except OSError:  # The client has closed already.
            self.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        """Answer something that is not a request, and look at nothing more of this connection.

        Behind a request that is still being answered there is only silence: the client would take these bytes for its answer.
        """
        active, latest = self._active, self.cycle
        self._phase = Phase.DEAD
        self._deadline = NEVER
        if active is not None and not active.response_complete:
            if not active.more_body:
                active.keep_alive = False
                self.pipeline.clear()
                return
            if active.response_started or active is not latest:
                self.transport.abort()
                return
            # Its own body is late or broken: the application learns of a client that has gone.
            active.disconnected = True
            active.message_event.set()
        self.transport.write(answer)
        self.finish_connection(body_pending=True, linger_s=REFUSED_LINGER_S)

    def sweep(self, now: float) -> None:
        """Cut whoever is over the deadline of its phase. Called twice a second by the server."""
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > self.bounds.body_timeout_s:
            self.transport.abort()
            return
        if now <= self._deadline:
            return
        if self._phase == Phase.BODY and self.flow.read_paused:
            # The application, or a request ahead in the pipeline, holds this one up: not the client's fault.
            self._deadline = now + self.bounds.body_timeout_s
        elif self._phase == Phase.IDLE or (self._phase == Phase.HEAD and self._head_bytes == 0):
            self.transport.close()
        elif self._phase >= Phase.LINGER:
            self.transport.abort()
        else:
            self._refuse(TOO_SLOW)


class _TooLargeError(Exception):
    pass


class Exchange(RequestResponseCycle):
    """One request and its answer. Head and first body bytes leave in one write."""

    def __init__(self, protocol: BoundedHttpProtocol, scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.protocol = protocol
        self.task: asyncio.Task[None] | None = None
        self.cancel: Callable[[], object] | None = None
        """Ends the invocation that runs for it."""
        self.ends_with_client = False
        """It only waits: a client that sends no more counts as gone."""
        self._head = b""
        self._outlives: asyncio.Future[None] | None = None
        super().__init__(
            scope=cast("Any", scope),
            transport=protocol.transport,
            flow=protocol.flow,
            logger=log,
            access_logger=log,
            access_log=False,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=keep_alive,
            on_response=protocol.on_response_complete,
        )

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Serve it in a task, which the server waits for at its stop, and then cancels."""
        self.task = task = self.protocol.loop.create_task(work)
        self.protocol.tasks.add(task)
        task.add_done_callback(self.protocol.tasks.discard)

    def cancel_with_task(self) -> None:
        """From here on the task waits for an invocation that is its client's alone."""
        if self.task is not None:
            self.cancel = self.task.cancel

    def outlive(self) -> None:
        """The client has gone, and its invocation runs on: at its stop the server waits for it as for a task, then ends it."""
        if self.task is not None and not self.task.done():
            return
        tasks = cast("set[asyncio.Future[None]]", self.protocol.tasks)
        self._outlives = outlives = self.protocol.loop.create_future()
        tasks.add(outlives)

        def over(done: asyncio.Future[None]) -> None:
            tasks.discard(done)
            if done.cancelled() and self.cancel is not None:
                self.cancel()

        outlives.add_done_callback(over)

    def outlived(self) -> None:
        """The invocation of a client that has gone has ended."""
        if self._outlives is not None and not self._outlives.done():
            self._outlives.set_result(None)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """The whole answer in one write. head: header lines with a line break behind each, content-length among them."""
        if self.disconnected:
            return
        if self.more_body:
            self.keep_alive = False
        closing = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        start = b"".join((STATUS_LINE[status], _lines(self.default_headers), head, closing))
        self.response_started = self.response_complete = True
        if len(body) < JOINED_BYTES_MAX:
            self.transport.write(start + body)
        else:
            self.transport.writelines((start, body))
        self._completed()

    def prove(self) -> None:
        """Its signature is valid: its connection is no stranger's from now on."""
        self.protocol.proven = True

    def end_with_client(self) -> None:
        """From here on the task only waits: it ends when the client closes, and be it its half of the connection alone."""
        if self.disconnected or self.protocol.half_closed:
            raise ClientGoneError
        self.ends_with_client = True
        self.cancel_with_task()

    def more_time(self) -> None:
        """For an application that reads a body of any size as it comes: the deadline is for the next piece."""
        self.protocol.extend_body()

    def cut(self) -> None:
        """End the connection in the middle of an answer: the client must not take what it has got for all of it."""
        self.transport.abort()
        self.disconnected = self.response_complete = True

    async def send(self, message: Any) -> None:
        if self.flow.write_paused:
            await self.flow.drain()
        if self.disconnected:  # Perhaps while it waited: the end of a connection ends that, too.
            return
        if not self.response_started:
            self._start(message)
        elif not self.response_complete:
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError("an answer was sent twice")

    def _start(self, message: Any) -> None:
        status: int = message["status"]
        lines = [STATUS_LINE[status]]
        length: int | None = None
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if b"\n" in value or b"\r" in value:
                raise RuntimeError(f"header {name!r} holds a line break")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = length is None and status not in (204, 304)
        self.expected_content_length = 0 if self.scope["method"] == "HEAD" else length or 0
        if self.more_body:
            # Answered before the request's end: what is left of it must not be read as the next request.
            self.keep_alive = False
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _continue(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = chunk if more else chunk + b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
        head, self._head = self._head, b""
        if len(body) < JOINED_BYTES_MAX:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        if more:
            return
        if self.expected_content_length != 0:
            raise RuntimeError("the body is not as long as its content-length says")
        self.response_complete = True
        self._completed()

    def _completed(self) -> None:
        self.message_event.set()
        if self.keep_alive:
            self.protocol.on_response_complete()
        else:
            self.protocol.server_state.total_requests += 1
            self.protocol.finish_connection(body_pending=self.more_body)


_lines_of: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The headers that every answer has, as bytes. uvicorn makes a new list twice a second; between, it is the same one."""
    global _lines_of
    if _lines_of[0] is not headers:
        _lines_of = (headers, b"".join(b"%b: %b\r\n" % pair for pair in headers))
    return _lines_of[1]
