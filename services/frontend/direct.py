"""The short way of an invocation, without a task and without ASGI's messages: what a warm cluster's requests mostly take.

`begin` reads a small, whole request and starts it if everything it needs is at hand: its function's target in memory and a
lease on a connected worker, or the event queue. Whatever it leaves alone goes the long way in invoke.py, which also says what
is wrong with a request; what was read of it already goes along in the scope.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from services.frontend.http_protocol import Exchange
from services.frontend.invoke_metrics import InvokeMetrics
from services.frontend.invoke_request import EVENT, INVOKE_PREFIX, REQUEST_RESPONSE, InvokeRequest, InvokeRequests
from services.frontend.request_ids import RequestIds
from services.frontend.signed_requests import RequestReader
from services.frontend.wire import log, result_head, translate
from shared.aws.error_rendering import render
from shared.dispatch.client import OnInvoked
from shared.dispatch.connection import InvocationRefusedError
from shared.domain.errors import ApiError, ServiceException
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.records import AsyncEvent

BODY_BYTES_MAX = 64 * 1024
"""What is read at once, without giving other requests a turn."""
READ = "lambdad.invoke_request"
"""Scope key: the `InvokeRequest` that was read and proven already."""


class DirectInvoker(Protocol):
    def begin(
        self, function_name: str, qualifier: str | None, invocation: Invocation, on_end: OnInvoked
    ) -> Callable[[], None] | None: ...


class DirectResolver(Protocol):
    def cached(self, function_name: str, qualifier: str | None) -> InvokeTarget | None: ...


class DirectQueue(Protocol):
    def begin(self, event: AsyncEvent, on_end: Callable[[Exception | None], None]) -> bool: ...


class DirectInvokes:
    def __init__(
        self,
        *,
        requests: InvokeRequests,
        reader: RequestReader,
        invoker: DirectInvoker,
        resolver: DirectResolver,
        queue: DirectQueue,
        request_ids: RequestIds,
        metrics: InvokeMetrics,
    ) -> None:
        self._requests = requests
        self._reader = reader
        self._invoker = invoker
        self._resolver = resolver
        self._queue = queue
        self._request_ids = request_ids
        self.metrics = metrics

    def begin(self, exchange: Exchange) -> bool:
        """Take a whole request over: it is answered later. False when it was left alone."""
        scope = cast("dict[str, Any]", exchange.scope)
        if len(exchange.body) > BODY_BYTES_MAX or not scope["raw_path"].startswith(INVOKE_PREFIX):
            return False
        try:
            request = self._read(scope, bytes(exchange.body))
        except Exception:
            # Nothing was sent: the long way meets the same and says so.
            return False
        if request is None:
            return False
        scope[READ] = request
        try:
            if request.kind == REQUEST_RESPONSE:
                return _Invocation(self.metrics, exchange, request).begin(self._invoker)
            if request.kind == EVENT:
                return self._begin_event(exchange, request)
        except ApiError:
            pass
        except Exception as error:
            # It may have been sent already: the long way must not send it again.
            fail(exchange, error, request.request_id, self.metrics)
            return True
        return False

    def _read(self, scope: dict[str, Any], body: bytes) -> InvokeRequest | None:
        """None for a body in signed chunks. Raises ApiError."""
        found = self._reader.whole(scope, body)
        if found is None:
            return None
        request_id = self._request_ids()
        return self._requests.read(request_id, found.raw_path, found.query, found.headers, found.body, found.complete_at)

    def _begin_event(self, exchange: Exchange, request: InvokeRequest) -> bool:
        address = request.address
        if self._resolver.cached(address.name, address.qualifier) is None:
            return False

        def on_end(error: Exception | None) -> None:
            if error is None:
                self.metrics.count("accepted")
                exchange.answer(202, b"x-amzn-requestid: %b\r\ncontent-length: 0\r\n" % request.request_id.encode(), b"")
            else:
                fail(exchange, error, request.request_id, self.metrics)

        return self._queue.begin(request.event(), on_end)


class _Invocation:
    """One synchronous invocation under way. The protocol cancels it when the client has gone or the server stops."""

    __slots__ = ("_cancel", "_exchange", "_metrics", "_request")

    def __init__(self, metrics: InvokeMetrics, exchange: Exchange, request: InvokeRequest) -> None:
        self._metrics = metrics
        self._exchange = exchange
        self._request = request

    def begin(self, invoker: DirectInvoker) -> bool:
        """Raises InvalidRequestContentException."""
        request = self._request
        cancel = invoker.begin(request.address.name, request.address.qualifier, request.invocation(), self._on_end)
        if cancel is None:
            return False
        self._cancel = cancel
        self._exchange.cancel = self.cancel
        return True

    def cancel(self) -> None:
        self._metrics.count("disconnected")
        self._cancel()
        if not self._exchange.disconnected:
            _answer_error(self._exchange, ServiceException("The service is stopping."), self._request.request_id)

    def _on_end(self, result: InvocationResult | None, error: Exception | None) -> None:
        exchange, request = self._exchange, self._request
        exchange.cancel = None
        if exchange.disconnected or exchange.response_started:
            return
        if result is not None:
            self._metrics.count("ok" if result.function_error is None else "function_error")
            exchange.answer(200, result_head(request.request_id, result, log_tail=request.log_tail), result.payload)
            self._metrics.observe(time.perf_counter() - request.started)
        elif isinstance(error, InvocationRefusedError):
            # Nothing ran: the long way looks for another place.
            exchange.start_over()
        elif error is not None:
            fail(exchange, error, request.request_id, self._metrics)


def fail(exchange: Exchange, error: Exception, request_id: str, metrics: InvokeMetrics) -> None:
    answer = translate(error)
    if answer is None:
        log.error("invoke %s failed", request_id, exc_info=error)
        answer = ServiceException("An internal error occurred.")
    metrics.count(answer.code)
    _answer_error(exchange, answer, request_id)


def _answer_error(exchange: Exchange, error: ApiError, request_id: str) -> None:
    rendered = render(error, request_id)
    exchange.answer(rendered.status, b"".join(b"%b: %b\r\n" % pair for pair in rendered.headers), rendered.body)
