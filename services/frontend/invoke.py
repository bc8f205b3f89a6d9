"""The invoke routes as raw ASGI: POST /2015-03-31/functions/{FunctionName}/invocations, beside it the one that streams the
response and the old invoke-async. Most requests never come here: direct.py answers them.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Protocol

import msgspec

from services.frontend.bodies import ClientGoneError, Receive
from services.frontend.direct import READ
from services.frontend.http_protocol import CANCEL_ON_DISCONNECT, EXCHANGE, Exchange
from services.frontend.invoke_metrics import InvokeMetrics
from services.frontend.invoke_request import DRY_RUN, EVENT, Address, InvokeRequest, InvokeRequests, kind_of
from services.frontend.request_ids import RequestIds
from services.frontend.signed_requests import Limit, RequestReader
from services.frontend.streamed import StreamedInvocation, StreamingInvoker
from services.frontend.wire import Scope, Send, log, result_head, send_answer, send_error, translate
from shared.aws import event_stream
from shared.domain.errors import (
    ApiError,
    RequestEntityTooLargeException,
    RequestTooLargeException,
    ResourceConflictException,
    ServiceException,
)
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import ASYNC_PAYLOAD_BYTES_MAX, SYNC_PAYLOAD_BYTES_MAX
from shared.events.records import AsyncEvent

_NOTHING: list[tuple[bytes, bytes]] = []


class Resolver(Protocol):
    async def resolve(self, function_name: str, qualifier: str | None) -> InvokeTarget: ...

    def cached(self, function_name: str, qualifier: str | None) -> InvokeTarget | None: ...

    def forget(self, function_name: str) -> None: ...


class EventQueue(Protocol):
    async def enqueue(self, event: AsyncEvent) -> None: ...


class InvocableResolver:
    """A resolver that refuses functions which are not there yet: what the invoke path resolves through."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(self, function_name: str, qualifier: str | None) -> InvokeTarget:
        """Raises ResourceNotFoundException, ResourceConflictException."""
        target = await self._resolver.resolve(function_name, qualifier)
        if target.state != "Active":
            # What was remembered is not worth keeping: the next call should see the new state.
            self._resolver.forget(function_name)
            raise ResourceConflictException(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {target.state}"
            )
        return target

    def cached(self, function_name: str, qualifier: str | None) -> InvokeTarget | None:
        target = self._resolver.cached(function_name, qualifier)
        return target if target is not None and target.state == "Active" else None

    def forget(self, function_name: str) -> None:
        self._resolver.forget(function_name)


class InvokeApp:
    """queue_wait_s: the longest wait for a worker with room."""

    def __init__(
        self,
        *,
        requests: InvokeRequests,
        reader: RequestReader,
        invoker: StreamingInvoker,
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: InvokeRequest | None = scope.get(READ)
        request_id = self._request_ids() if request is None else request.request_id
        try:
            await self._serve(scope, send, request or await self._read(scope, receive, request_id))
        except ClientGoneError:
            self._metrics.count("disconnected")
        except asyncio.CancelledError:
            # By the protocol when the client has gone (then this reaches nobody), or by the server at its stop.
            self._metrics.count("disconnected")
            await send_error(send, ServiceException("The service is stopping."), request_id)
        except Exception as error:
            answer = translate(error)
            if answer is None:
                log.exception("invoke %s failed", request_id)
                answer = ServiceException("An internal error occurred.")
            self._metrics.count(answer.code)
            await send_error(send, answer, request_id)

    async def _read(self, scope: Scope, receive: Receive, request_id: str) -> InvokeRequest:
        """The whole request, its signature proven. A stranger is refused before the body is read."""
        claimed = self._reader.claim(scope)
        event = kind_of(scope["raw_path"], claimed.headers) == EVENT
        found = await claimed.read(receive, _EVENT_LIMIT if event else _LIMIT)
        return self._requests.read(request_id, found.raw_path, found.query, found.headers, found.body, found.complete_at)

    async def _serve(self, scope: Scope, send: Send, request: InvokeRequest) -> None:
        if request.kind == EVENT:
            await self._event(send, request)
        elif request.kind == DRY_RUN:
            await self._resolver.resolve(request.address.name, request.address.qualifier)
            self._metrics.count("dry_run")
            await send_answer(send, 204, _NOTHING, b"", request.request_id)
        else:
            invocation = request.invocation()
            # From here on the invocation is the client's alone: when it goes, the invocation is cancelled.
            scope[CANCEL_ON_DISCONNECT] = True
            if request.streamed:
                await self._streamed(send, request.address, invocation)
            else:
                await self._request_response(scope[EXCHANGE], request.address, invocation)
            self._metrics.observe(time.perf_counter() - request.started)

    async def _request_response(self, exchange: Exchange, address: Address, invocation: Invocation) -> None:
        result = await self._invoker.invoke(address.name, address.qualifier, invocation, wait_s=self._queue_wait_s)
        self._metrics.count("ok" if result.function_error is None else "function_error")
        # Not through ASGI's two messages: this is the answer that has to be fast.
        exchange.answer(200, result_head(invocation.request_id, result, log_tail=invocation.log_tail), result.payload)

    async def _streamed(self, send: Send, address: Address, invocation: Invocation) -> None:
        """Pieces as they come, each a PayloadChunk; then InvokeComplete says how it ended."""
        call = StreamedInvocation(self._invoker, address.name, address.qualifier, invocation, wait_s=self._queue_wait_s)
        async with call:
            streams = await call.begun()
            version = call.executed_version
            headers = [
                (b"content-type", event_stream.CONTENT_TYPE.encode()),
                (b"x-amz-executed-version", version.encode()),
                (b"x-amzn-requestid", invocation.request_id.encode()),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if streams:
                async for piece in call.pieces():
                    await send({"type": "http.response.body", "body": _chunk(piece), "more_body": True})
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
                    await send({"type": "http.response.body", "body": _chunk(result.payload), "more_body": True})
                complete = _completion(result, log_tail=invocation.log_tail)
            last = event_stream.event("InvokeComplete", "application/json", msgspec.json.encode(complete))
            await send({"type": "http.response.body", "body": last})

    async def _event(self, send: Send, request: InvokeRequest) -> None:
        event = request.event()
        await self._resolver.resolve(event.function_name, event.qualifier)
        await self._queue.enqueue(event)
        self._metrics.count("accepted")
        await send_answer(send, 202, _NOTHING, b"", request.request_id)


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


_LIMIT = Limit(SYNC_PAYLOAD_BYTES_MAX, _too_large)


def _too_large_for_event(size_bytes: int) -> ApiError:
    return RequestTooLargeException(
        f"{size_bytes} byte payload is too large for the Event invocation type (limit {ASYNC_PAYLOAD_BYTES_MAX} bytes)"
    )


_EVENT_LIMIT = Limit(ASYNC_PAYLOAD_BYTES_MAX, _too_large_for_event)
