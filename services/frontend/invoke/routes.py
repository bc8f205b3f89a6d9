"""The invoke routes: POST /2015-03-31/functions/{FunctionName}/invocations, beside it the one that streams the response and the
old invoke-async.

A small, whole request of a function whose target and lease are at hand takes no task and none of ASGI's messages: it is read,
started, and answered when it has ended. A task is made only for what has to be waited for: a body that is late, large or in
chunks, a target that is not in memory, a response that is streamed.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

import msgspec

from services.frontend.edge.answers import log, result_head, translate
from services.frontend.edge.bodies import ClientGoneError
from services.frontend.edge.http_protocol import Exchange
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import Limit, RequestReader, SignedRequest
from services.frontend.invoke.metrics import InvokeMetrics
from services.frontend.invoke.request import DRY_RUN, EVENT, OLD_EVENT, REQUEST_RESPONSE, InvokeRequest, InvokeRequests, kind_of
from services.frontend.invoke.streamed import Invoker, StreamedInvocation
from services.frontend.invoke.targets import InvocableResolver
from shared.aws import event_stream
from shared.aws.error_rendering import render
from shared.domain.errors import ApiError, RequestEntityTooLargeException, RequestTooLargeException, ServiceException
from shared.domain.invocations import InvocationResult
from shared.domain.limits import ASYNC_PAYLOAD_BYTES_MAX, OLD_ASYNC_PAYLOAD_BYTES_MAX, SYNC_PAYLOAD_BYTES_MAX
from shared.events.records import AsyncEvent

BODY_BYTES_MAX = 64 * 1024
"""What is read at once, without giving other requests a turn."""
STOPPING = "The service is stopping."


class EventQueue(Protocol):
    """`shared.events.queue.AsyncQueue`."""

    def start(self, event: AsyncEvent, on_end: Callable[[ServiceException | None], None]) -> None: ...


class Invokes:
    """queue_wait_s: the longest wait for a worker with room."""

    def __init__(
        self,
        *,
        requests: InvokeRequests,
        reader: RequestReader,
        invoker: Invoker,
        resolver: InvocableResolver,
        queue: EventQueue,
        request_ids: RequestIds,
        metrics: InvokeMetrics,
        queue_wait_s: float,
    ) -> None:
        self._requests = requests
        self._reader = reader
        self._invoker = invoker
        self._resolver = resolver
        self._queue = queue
        self._request_ids = request_ids
        self._metrics = metrics
        self._queue_wait_s = queue_wait_s

    def serve(self, exchange: Exchange) -> None:
        """Take a request over: it is answered now or later, and in any case."""
        request_id = self._request_ids()
        try:
            request = None
            if not exchange.more_body and len(exchange.body) <= BODY_BYTES_MAX:
                request = self._whole(exchange, request_id)
            if request is None:
                self._spawn(exchange, request_id, self._read_and_start(exchange, request_id))
            else:
                self._start(exchange, request)
        except Exception as error:
            self._fail(exchange, error, request_id)

    # Reading

    def _whole(self, exchange: Exchange, request_id: str) -> InvokeRequest | None:
        """None for a body in signed chunks. Raises ApiError."""
        found = self._reader.whole(cast("dict[str, Any]", exchange.scope), bytes(exchange.body))
        if found is None:
            return None
        return self._read(request_id, found)

    async def _read_and_start(self, exchange: Exchange, request_id: str) -> None:
        """Read the whole request, its signature proven. A stranger is refused before the body is read."""
        scope = cast("dict[str, Any]", exchange.scope)
        claimed = self._reader.claim(scope)
        limit = _EVENT_LIMITS.get(kind_of(scope["raw_path"], claimed.headers), _LIMIT)
        found = await claimed.read(cast("Any", exchange.receive), limit)
        self._start(exchange, self._read(request_id, found))

    def _read(self, request_id: str, found: SignedRequest) -> InvokeRequest:
        """Raises ApiError."""
        read = self._requests.read
        return read(request_id, found.home, found.raw_path, found.query, found.headers, found.body, found.complete_at)

    # Starting

    def _start(self, exchange: Exchange, request: InvokeRequest) -> None:
        """Raises ApiError."""
        if request.kind != REQUEST_RESPONSE:
            address = request.address
            if self._resolver.cached(address.function_arn, address.qualifier) is None:
                self._spawn(exchange, request.request_id, self._resolve_and_accept(exchange, request))
            else:
                self._accept(exchange, request)
        elif request.streamed:
            self._spawn(exchange, request.request_id, self._stream(exchange, request))
        else:
            invocation = request.invocation()
            run = InvokeRun(self._metrics, exchange, request)
            run.cancel_run = self._invoker.start(
                request.address.function_arn, request.address.qualifier, invocation, run.on_end, self._queue_wait_s
            )
            exchange.cancel = run.cancel

    async def _resolve_and_accept(self, exchange: Exchange, request: InvokeRequest) -> None:
        await self._resolver.resolve(request.address.function_arn, request.address.qualifier)
        self._accept(exchange, request)

    def _accept(self, exchange: Exchange, request: InvokeRequest) -> None:
        """The function is there. Raises InvalidRequestContentException."""
        head = b"x-amzn-requestid: %b\r\n" % request.request_id.encode()
        if request.kind == DRY_RUN:
            self._metrics.count("dry_run")
            exchange.answer(204, head, b"")
            return

        def on_end(error: ServiceException | None) -> None:
            if error is None:
                self._metrics.count("accepted")
                exchange.answer(202, head + b"content-length: 0\r\n", b"")
            else:
                self._fail(exchange, error, request.request_id)

        self._queue.start(request.event(), on_end)

    async def _stream(self, exchange: Exchange, request: InvokeRequest) -> None:
        """Pieces as they come, each a PayloadChunk; then InvokeComplete says how it ended. A client that has gone takes
        everything: the function writes to its end."""
        address, request_id = request.address, request.request_id
        invocation = request.invocation()
        wait_s = self._queue_wait_s
        exchange.cancel_with_task()
        async with StreamedInvocation(
            self._invoker, address.function_arn, address.qualifier, invocation, wait_s=wait_s
        ) as call:
            streams = await call.begun()
            headers = [
                (b"content-type", event_stream.CONTENT_TYPE.encode()),
                (b"x-amz-executed-version", call.executed_version.encode()),
                (b"x-amzn-requestid", request_id.encode()),
            ]
            await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
            if streams:
                async for piece in call.pieces():
                    await exchange.send({"type": "http.response.body", "body": _chunk(piece), "more_body": True})
            try:
                result = await call.result()
            except Exception as error:
                # Too late for a status: the stream's last event says it.
                answer = translate(error) or ServiceException("An internal error occurred.")
                self._metrics.count(answer.code)
                complete = {"ErrorCode": answer.code, "ErrorDetails": str(answer)}
            else:
                self._metrics.count("ok" if result.function_error is None else "function_error")
                if not streams and result.function_error is None and result.payload:
                    await exchange.send({"type": "http.response.body", "body": _chunk(result.payload), "more_body": True})
                complete = _completion(result, log_tail=invocation.log_tail)
            last = event_stream.event("InvokeComplete", "application/json", msgspec.json.encode(complete))
            await exchange.send({"type": "http.response.body", "body": last})
        self._metrics.observe(time.perf_counter() - request.started)

    # Tasks, and what goes wrong

    def _spawn(self, exchange: Exchange, request_id: str, work: Coroutine[Any, Any, None]) -> None:
        exchange.run(self._guarded(exchange, request_id, work))

    async def _guarded(self, exchange: Exchange, request_id: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ClientGoneError:
            self._metrics.count("disconnected")
        except asyncio.CancelledError:
            # By the protocol when the client has gone, should the operator want that, or by the server at its stop.
            self._metrics.count("disconnected")
            if exchange.response_started:
                exchange.cut()
            else:
                _answer_error(exchange, ServiceException(STOPPING), request_id)
        except Exception as error:
            self._fail(exchange, error, request_id)

    def _fail(self, exchange: Exchange, error: Exception, request_id: str) -> None:
        fail(exchange, error, request_id, self._metrics)


class InvokeRun:
    """One synchronous invocation under way. The protocol cancels it when the server stops and, if the operator wants that, when
    the client has gone; otherwise it runs to its end, as on AWS, and nobody is answered."""

    __slots__ = ("_exchange", "_metrics", "_request", "cancel_run")

    cancel_run: Callable[[], None]

    def __init__(self, metrics: InvokeMetrics, exchange: Exchange, request: InvokeRequest) -> None:
        self._metrics = metrics
        self._exchange = exchange
        self._request = request

    def cancel(self) -> None:
        exchange = self._exchange
        exchange.cancel = None
        self.cancel_run()
        self._metrics.count("disconnected")
        _answer_error(exchange, ServiceException(STOPPING), self._request.request_id)

    def on_end(self, result: InvocationResult | None, error: Exception | None) -> None:
        exchange, request = self._exchange, self._request
        exchange.cancel = None
        if exchange.disconnected:
            self._metrics.count("disconnected")
            exchange.outlived()
        elif result is not None:
            self._metrics.count("ok" if result.function_error is None else "function_error")
            exchange.answer(200, result_head(request.request_id, result, log_tail=request.log_tail), result.payload)
            self._metrics.observe(time.perf_counter() - request.started)
        elif error is not None:
            fail(exchange, error, request.request_id, self._metrics)


def fail(exchange: Exchange, error: Exception, request_id: str, metrics: InvokeMetrics) -> None:
    answer = translate(error)
    if answer is None:
        log.error("invoke %s failed", request_id, exc_info=error)
        answer = ServiceException("An internal error occurred.")
    metrics.count(answer.code)
    if exchange.response_started:
        exchange.cut()
    else:
        _answer_error(exchange, answer, request_id)


def _answer_error(exchange: Exchange, error: ApiError, request_id: str) -> None:
    rendered = render(error, request_id)
    exchange.answer(rendered.status, b"".join(b"%b: %b\r\n" % pair for pair in rendered.headers), rendered.body)


def _chunk(piece: bytes) -> bytes:
    return event_stream.event("PayloadChunk", event_stream.OCTETS, piece)


def _completion(result: InvocationResult, *, log_tail: bool) -> dict[str, str]:
    """The members of InvokeComplete."""
    members: dict[str, str] = {}
    if result.function_error is not None:
        members = {"ErrorCode": result.function_error, "ErrorDetails": result.payload.decode("utf-8", "replace")}
    if log_tail:
        members["LogResult"] = base64.b64encode(result.log_tail).decode()
    return members


def _too_large(size_bytes: int) -> ApiError:
    del size_bytes
    return RequestEntityTooLargeException(
        f"Request must be smaller than {SYNC_PAYLOAD_BYTES_MAX} bytes for the InvokeFunction operation"
    )


def _event_limit(bytes_max: int) -> Limit:
    def too_large(size_bytes: int) -> ApiError:
        return RequestTooLargeException(
            f"{size_bytes} byte payload is too large for the Event invocation type (limit {bytes_max} bytes)"
        )

    return Limit(bytes_max, too_large)


_LIMIT = Limit(SYNC_PAYLOAD_BYTES_MAX, _too_large)
_EVENT_LIMITS = {EVENT: _event_limit(ASYNC_PAYLOAD_BYTES_MAX), OLD_EVENT: _event_limit(OLD_ASYNC_PAYLOAD_BYTES_MAX)}
