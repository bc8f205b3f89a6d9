"""The Runtime API of one sandbox: what each call does. The wire is connection.py's, the texts are replies.py's."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from collections.abc import Callable

import msgspec

from services.worker.sandbox.frame_stream import RuntimeEvents
from services.worker.sandbox.runtime_api import replies
from services.worker.sandbox.runtime_api.connection import Connection, Request
from services.worker.sandbox.runtime_api.machine import Call, IllegalTransitionError, State, advance
from services.worker.sandbox.spec import ResponseStream, RuntimeInvocation, RuntimeResponse
from shared.domain.limits import STREAMED_RESPONSE_BYTES_MAX

CONNECTIONS_MAX = 64
_PREFIX = "/2018-06-01"
_NEXT = f"{_PREFIX}/runtime/invocation/next"
_INIT_ERROR = f"{_PREFIX}/runtime/init/error"
_PING = (f"{_PREFIX}/ping", f"{_PREFIX}/runtime/ping")
_ANSWER = re.compile(re.escape(_PREFIX) + r"/runtime/invocation/([^/]+)/(response|error)")
_ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"
_RESPONSE_MODE = "lambda-runtime-function-response-mode"
OCTETS = "application/octet-stream"
"""What a runtime streams when it does not say."""
TRUNCATED_TYPE = "Runtime.TruncatedResponse"
_TRUNCATED = msgspec.json.encode({"errorType": TRUNCATED_TYPE, "errorMessage": "The runtime ended its response in the middle"})


class RuntimeApi:
    """Serves the listening socket that the sandbox's init made in the sandbox's own network."""

    def __init__(self, listener: socket.socket, events: RuntimeEvents) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, None] = {}
        self.state = State.STARTED
        self._invocation: RuntimeInvocation | None = None
        self._waiting: Connection | None = None

    async def start(self) -> None:
        self._server = await self._loop.create_server(self._connect, sock=self._listener)

    def runtime_started(self) -> None:
        """A fresh runtime process: nothing of the last one's is left."""
        self._close_connections()
        self.state = State.STARTED
        self._invocation = None

    def invoke(self, invocation: RuntimeInvocation) -> None:
        self._invocation = invocation
        self._hand_over()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._close_connections()
        self._listener.close()

    def _close_connections(self) -> None:
        self._waiting = None
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()

    def _connect(self) -> Connection:
        if len(self._connections) >= CONNECTIONS_MAX:
            oldest = next(iter(self._connections))
            oldest.close()
            self._connections.pop(oldest, None)
        connection = Connection(self)
        self._connections[connection] = None
        return connection

    def on_closed(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if self._waiting is connection:
            self._waiting = None

    def on_head(self, connection: Connection, request: Request) -> ResponseStream | None:
        """A runtime that begins to stream its response has answered with that: nothing else is taken for this event."""
        invocation = self._invocation
        answer = _ANSWER.fullmatch(request.path.partition("?")[0])
        if invocation is None or answer is None or answer[2] != "response" or answer[1] != invocation.request_id:
            return None
        if request.method != "POST" or not _streams(request) or self.state is not State.RUNNING:
            return None
        stream = self._events.on_stream(request.headers.get("content-type", OCTETS), connection)
        if stream is not None:
            self.state = advance(self.state, Call.RESPONSE)
        return stream

    def on_request(self, connection: Connection, request: Request) -> None:
        try:
            reply = self._dispatch(connection, request)
        except IllegalTransitionError as failure:
            reply = replies.error(replies.invalid_transition(str(failure)))
        except replies.ApiError as failure:
            reply = replies.error(failure)
        if reply is not None:
            connection.reply(reply)

    def _dispatch(self, connection: Connection, request: Request) -> bytes | None:
        path = request.path.partition("?")[0]
        if path == _NEXT:
            return self._for_method(request, "GET", lambda: self._next(connection))
        if path == _INIT_ERROR:
            return self._for_method(request, "POST", lambda: self._init_error(request))
        if path in _PING:
            return self._for_method(request, "GET", replies.pong)
        answer = _ANSWER.fullmatch(path)
        if answer is None:
            raise replies.unknown_path()
        call = Call.RESPONSE if answer[2] == "response" else Call.ERROR
        return self._for_method(request, "POST", lambda: self._answer(request, answer[1], call))

    @staticmethod
    def _for_method(request: Request, method: str, handle: Callable[[], bytes | None]) -> bytes | None:
        if request.method != method:
            raise replies.wrong_method()
        return handle()

    def _next(self, connection: Connection) -> bytes | None:
        first = self.state is State.STARTED
        self.state = advance(self.state, Call.NEXT)
        if self.state is State.RUNNING:
            assert self._invocation is not None
            return replies.event(self._invocation)
        self._waiting = connection
        if first:
            self._events.on_ready()
        self._hand_over()
        return None

    def _hand_over(self) -> None:
        if self._waiting is None or self._invocation is None or self.state is not State.READY:
            return
        self.state = advance(self.state, Call.EVENT)
        waiting, self._waiting = self._waiting, None
        waiting.reply(replies.event(self._invocation))

    def _answer(self, request: Request, request_id: str, call: Call) -> bytes:
        if request.stream is not None:
            return self._streamed(request)
        following = advance(self.state, call)
        assert self._invocation is not None
        if request_id != self._invocation.request_id:
            raise replies.invalid_request_id()
        if request.headers.get(_RESPONSE_MODE, "streaming").lower() not in ("streaming", "buffered"):
            raise replies.invalid_response_mode()
        if request.truncated:
            raise replies.truncated()
        self.state = following
        self._invocation = None
        if request.body_size > len(request.body):
            self._events.on_response(RuntimeResponse(b"", too_large_bytes=request.body_size))
            raise replies.too_large()
        if call is Call.RESPONSE and _streams(request) and _ERROR_TYPE in request.headers:
            self._events.on_response(_failed_in_the_middle(request))
        elif call is Call.ERROR:
            error_type = request.headers.get(_ERROR_TYPE) or _posted_type(request.body)
            self._events.on_response(RuntimeResponse(request.body, error_type=error_type))
        else:
            self._events.on_response(RuntimeResponse(request.body))
        return replies.accepted()

    def _streamed(self, request: Request) -> bytes:
        """The end of a response whose pieces have gone to the caller already."""
        self._invocation = None
        if request.truncated:
            self._events.on_response(RuntimeResponse(_TRUNCATED, error_type=TRUNCATED_TYPE))
            raise replies.truncated()
        if request.body_size > STREAMED_RESPONSE_BYTES_MAX:
            self._events.on_response(RuntimeResponse(b"", too_large_bytes=request.body_size))
            raise replies.too_large(STREAMED_RESPONSE_BYTES_MAX)
        failed = _ERROR_TYPE in request.headers
        self._events.on_response(_failed_in_the_middle(request) if failed else RuntimeResponse(b""))
        return replies.accepted()

    def _init_error(self, request: Request) -> bytes:
        self.state = advance(self.state, Call.INIT_ERROR)
        self._events.on_init_error(request.body)
        return replies.accepted()


def _streams(request: Request) -> bool:
    return request.headers.get(_RESPONSE_MODE, "").lower() == "streaming"


def _failed_in_the_middle(request: Request) -> RuntimeResponse:
    """The trailers hold what would have been the body of a call to `error`."""
    try:
        document = base64.b64decode(request.headers.get(_ERROR_BODY, ""), validate=True)
    except ValueError:
        document = b""
    return RuntimeResponse(document or b"{}", error_type=request.headers[_ERROR_TYPE] or _posted_type(document))


def _posted_type(document: bytes) -> str:
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    named = found.get("errorType") if isinstance(found, dict) else None
    return named if isinstance(named, str) else ""
