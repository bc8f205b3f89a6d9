"""The Runtime API of one sandbox: what each call does. The wire is ../wire/."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import msgspec

from services.worker.sandbox.frame_stream import RuntimeEvents
from services.worker.sandbox.runtime_api.runtime.machine import Call, IllegalTransitionError, State, advance
from services.worker.sandbox.runtime_api.surface import Reply
from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.runtime_api.wire.connection import (
    CONTENT_TYPE,
    ERROR_BODY,
    ERROR_TYPE,
    RESPONSE_MODE,
    Connection,
    Request,
)
from services.worker.sandbox.spec import RuntimeInvocation, RuntimeResponse
from shared.domain.limits import RESPONSE_BYTES_MAX, STREAMED_RESPONSE_BYTES_MAX

PREFIX = "/2018-06-01/"
_NEXT = f"{PREFIX}runtime/invocation/next"
_INIT_ERROR = f"{PREFIX}runtime/init/error"
_PING = (f"{PREFIX}ping", f"{PREFIX}runtime/ping")
_ANSWER = re.compile(re.escape(PREFIX) + r"runtime/invocation/([^/]+)/(response|error)")
OCTETS = "application/octet-stream"
"""What a runtime streams when it does not say."""
TRUNCATED_TYPE = "Runtime.TruncatedResponse"
_TRUNCATED = msgspec.json.encode({"errorType": TRUNCATED_TYPE, "errorMessage": "The runtime ended its response in the middle"})


class RuntimeCalls:
    """Implements `surface.Surface`. serves: the runtime process gets its events here; otherwise it gets them by its stream of
    frames, and every call that changes its state is refused."""

    def __init__(self, events: RuntimeEvents, *, serves: bool) -> None:
        self._events = events
        self.serves = serves
        self.state = State.STARTED
        self._invocation: RuntimeInvocation | None = None
        self._waiting: Connection | None = None
        self._holder: Connection | None = None
        self._handed_over = False
        self._holder_lost_it = False
        self._answering: Connection | None = None

    def answers(self, path: str) -> bool:
        return path.startswith(PREFIX)

    def restarted(self) -> None:
        self.state = State.STARTED
        self._invocation = None

    def let_go(self) -> None:
        """Of every connection: they are closed."""
        self._waiting = self._holder = self._answering = None

    def invoke(self, invocation: RuntimeInvocation) -> None:
        self._invocation = invocation
        self._handed_over = False
        self._hand_over()

    @property
    def untaken(self) -> bool:
        """The event, which is not answered, was not handed to a process, or to one that ended before it had taken all of it."""
        if self._invocation is None:
            return False
        if not self._handed_over:
            return True
        if self.state is not State.RUNNING or self._answering is not None:
            return False  # It streams its response, or is about to answer.
        return self._holder_lost_it if self._holder is None else self._holder.lost_what_was_sent()

    def on_closed(self, connection: Connection) -> None:
        if self._waiting is connection:
            self._waiting = None
        if self._answering is connection:
            self._answering = None
        if self._holder is connection:
            self._holder_lost_it = connection.lost_what_was_sent()
            self._holder = None

    def on_head(self, connection: Connection, request: Request) -> None:
        """One body is held at a time, and only where an answer is awaited. A runtime that begins to stream its response has
        answered with that: nothing else is taken for this event."""
        path = request.path.partition("?")[0]
        if request.method != "POST" or not self.serves:
            return
        if path == _INIT_ERROR:
            self._keep(request, wanted=self.state is State.STARTED and self._claims(connection))
            return
        invocation, answer = self._invocation, _ANSWER.fullmatch(path)
        if invocation is None or answer is None or answer[1] != invocation.request_id or self.state is not State.RUNNING:
            return
        if self._keep(request, wanted=self._claims(connection)) and answer[2] == "response" and _streams(request):
            request.stream = self._events.on_stream(request.headers.get(CONTENT_TYPE, OCTETS), connection)
            if request.stream is not None:
                self.state = advance(self.state, Call.RESPONSE)

    @staticmethod
    def _keep(request: Request, *, wanted: bool) -> bool:
        request.body_bytes_max = RESPONSE_BYTES_MAX if wanted else 0
        return wanted

    def _claims(self, connection: Connection) -> bool:
        if self._answering is None:
            self._answering = connection
        return self._answering is connection

    def answer(self, connection: Connection, request: Request) -> Reply | None:
        if self._answering is connection:
            self._answering = None
        try:
            return self._dispatch(connection, request)
        except IllegalTransitionError as failure:
            raise replies.invalid_transition(str(failure)) from None

    def _dispatch(self, connection: Connection, request: Request) -> Reply | None:
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
    def _for_method(request: Request, method: str, handle: Callable[[], Reply | None]) -> Reply | None:
        if request.method != method:
            raise replies.wrong_method()
        return handle()

    def _next(self, connection: Connection) -> Reply | None:
        if not self.serves:
            raise IllegalTransitionError(self.state, Call.NEXT)
        first = self.state is State.STARTED
        if self.state is State.RUNNING and self._holder is not None and self._holder is not connection:
            # It has the event already, by another connection.
            raise IllegalTransitionError(self.state, Call.NEXT)
        self.state = advance(self.state, Call.NEXT)
        if self.state is State.RUNNING:
            assert self._invocation is not None
            self._holder = connection
            return replies.event(self._invocation)
        self._waiting = connection
        if first:
            self._events.on_ready()
        else:
            self._events.on_next()
        self._hand_over()
        return None

    def _hand_over(self) -> None:
        if self._waiting is None or self._invocation is None or self.state is not State.READY:
            return
        self.state = advance(self.state, Call.EVENT)
        self._handed_over = True
        if self._holder is not None and self._holder is not self._waiting and not self._holder.taken:
            self._holder.close()  # With an event of before that was never read.
        self._holder, self._waiting = self._waiting, None
        self._holder.reply(*replies.event(self._invocation))

    def _answer(self, request: Request, request_id: str, call: Call) -> bytes:
        if request.stream is not None:
            return self._streamed(request)
        following = advance(self.state, call)
        assert self._invocation is not None
        if request_id != self._invocation.request_id:
            raise replies.invalid_request_id()
        if request.headers.get(RESPONSE_MODE, "streaming").lower() not in ("streaming", "buffered"):
            raise replies.invalid_response_mode()
        if request.truncated:
            raise replies.truncated()
        if not request.body_bytes_max:
            # Another connection is about to answer, or this was sent before it could be known that it is wanted.
            raise IllegalTransitionError(State.RESPONSE, call)
        self.state = following
        self._invocation = None
        if request.body_size > len(request.body):
            self._events.on_response(RuntimeResponse(b"", too_large_bytes=request.body_size))
            raise replies.too_large()
        if call is Call.RESPONSE and _streams(request) and ERROR_TYPE in request.headers:
            self._events.on_response(_failed_in_the_middle(request))
        elif call is Call.ERROR:
            error_type = request.headers.get(ERROR_TYPE) or _posted_type(request.body)
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
        failed = ERROR_TYPE in request.headers
        self._events.on_response(_failed_in_the_middle(request) if failed else RuntimeResponse(b""))
        return replies.accepted()

    def _init_error(self, request: Request) -> bytes:
        following = advance(self.state, Call.INIT_ERROR)
        if not request.body_bytes_max:
            raise IllegalTransitionError(State.INIT_ERROR, Call.INIT_ERROR)
        self.state = following
        self._events.on_init_error(request.body)
        return replies.accepted()


def _streams(request: Request) -> bool:
    return request.headers.get(RESPONSE_MODE, "").lower() == "streaming"


def _failed_in_the_middle(request: Request) -> RuntimeResponse:
    """The trailers hold what would have been the body of a call to `error`."""
    try:
        document = base64.b64decode(request.headers.get(ERROR_BODY, ""), validate=True)
    except ValueError:
        document = b""
    return RuntimeResponse(document or b"{}", error_type=request.headers[ERROR_TYPE] or _posted_type(document))


def _posted_type(document: bytes) -> str:
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    named = found.get("errorType") if isinstance(found, dict) else None
    return named if isinstance(named, str) else ""
