"""The invoke routes as raw ASGI: POST /2015-03-31/functions/{FunctionName}/invocations, beside it the one that streams the
response and the old invoke-async.

Everything here runs once per invocation, so what repeats is computed once: parsed paths, header bytes, signing keys.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from services.frontend.bodies import BodyReader, ClientGoneError, Receive, declared_length
from services.frontend.http_protocol import CANCEL_ON_DISCONNECT, EXCHANGE, Exchange
from services.frontend.invoke_metrics import InvokeMetrics
from services.frontend.json_check import require_json
from services.frontend.request_ids import RequestIds
from services.frontend.streamed import StreamedInvocation, StreamingInvoker
from services.frontend.wire import LARGE_BYTES, Scope, Send, log, send_answer, send_error, translate
from shared.aws import event_stream
from shared.aws.chunked_payload import wire_bytes_max
from shared.aws.parsing import parse_params
from shared.aws.routing import Router, parse_query
from shared.aws.service_model import Operation
from shared.aws.sigv4 import Verifier, payload_hash
from shared.aws.validation import validate
from shared.domain.arns import merge_qualifier, parse_function_reference, require_reachable
from shared.domain.errors import (
    ApiError,
    InvalidRequestContentException,
    RequestEntityTooLargeException,
    RequestTooLargeException,
    ResourceConflictException,
    ServiceException,
    UnsupportedMediaTypeException,
)
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import ASYNC_PAYLOAD_BYTES_MAX, CLIENT_CONTEXT_BYTES_MAX, SYNC_PAYLOAD_BYTES_MAX
from shared.events.records import AsyncEvent

INVOKE_PREFIX = b"/2015-03-31/functions/"
INVOKE_SUFFIX = b"/invocations"
STREAM_PREFIX = b"/2021-11-15/functions/"
STREAM_SUFFIX = b"/response-streaming-invocations"
INVOKE_ASYNC_PREFIX = b"/2014-11-13/functions/"
INVOKE_ASYNC_SUFFIX = b"/invoke-async"
ROUTES = (
    (INVOKE_PREFIX, INVOKE_SUFFIX),
    (INVOKE_ASYNC_PREFIX, INVOKE_ASYNC_SUFFIX),
    (STREAM_PREFIX, STREAM_SUFFIX),
)
ADDRESSES_MAX = 10_000

_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NOT_JSON_TYPES = (b"text/html", b"text/xml", b"application/xml", b"image/", b"audio/", b"video/", b"multipart/")
_KINDS = {None: "RequestResponse", b"RequestResponse": "RequestResponse", b"Event": "Event", b"DryRun": "DryRun"}
_LOG_TYPES = {None: False, b"None": False, b"Tail": True}
_NOTHING: list[tuple[bytes, bytes]] = []

_decode_json = msgspec.json.Decoder(msgspec.Raw).decode


class Resolver(Protocol):
    async def resolve(self, function_name: str, qualifier: str | None) -> InvokeTarget: ...

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

    def forget(self, function_name: str) -> None:
        self._resolver.forget(function_name)


class Address(msgspec.Struct, frozen=True):
    name: str
    qualifier: str | None


class InvokeApp:
    """verifier: None when signatures are not checked. queue_wait_s: the longest wait for a worker with room."""

    def __init__(
        self,
        *,
        router: Router,
        verifier: Verifier | None,
        invoker: StreamingInvoker,
        resolver: InvocableResolver,
        queue: EventQueue,
        bodies: BodyReader,
        request_ids: RequestIds,
        metrics: InvokeMetrics,
        account_id: str,
        region: str,
        queue_wait_s: float,
    ) -> None:
        self._router = router
        self._verifier = verifier
        self._invoker = invoker
        self._resolver = resolver
        self._queue = queue
        self._bodies = bodies
        self._request_ids = request_ids
        self._metrics = metrics
        self._account_id = account_id
        self._region = region
        self._queue_wait_s = queue_wait_s
        self._addresses: dict[tuple[bytes, bytes], Address] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._request_ids()
        try:
            await self._serve(scope, receive, send, request_id)
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

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        verifier = self._verifier
        raw_path: bytes = scope["raw_path"]
        query: bytes = scope["query_string"]
        claim = None if verifier is None else verifier.claim(scope["headers"], query)
        headers: Mapping[bytes, bytes] = dict(scope["headers"]) if claim is None else claim.values
        kind = _KINDS.get(headers.get(b"x-amz-invocation-type"), "") if not raw_path.startswith(b"/2014") else "Event"
        limit = SYNC_PAYLOAD_BYTES_MAX if kind != "Event" else ASYNC_PAYLOAD_BYTES_MAX
        too_large = _too_large_for_event if kind == "Event" else _too_large
        chunked = claim is not None and claim.chunked is not None
        declared = declared_length(headers.get(b"content-length"))
        body = await self._bodies.read(receive, declared, wire_bytes_max(limit) if chunked else limit, too_large)
        started = time.perf_counter()
        if claim is not None and verifier is not None:
            if len(body) > LARGE_BYTES:
                hashed = await asyncio.to_thread(payload_hash, claim, body)
            else:
                hashed = payload_hash(claim, body)
            verifier.prove(claim, b"POST", raw_path, query, hashed)
            if chunked:
                body = await asyncio.to_thread(verifier.payload, claim, body)
                if len(body) > limit:
                    raise too_large(len(body))
        address = self._addresses.get((raw_path, query))
        if address is None:
            address = self._parse_address(raw_path, query)
        log_tail = _LOG_TYPES.get(headers.get(b"x-amz-log-type"))
        streamed = raw_path.startswith(STREAM_PREFIX)
        if log_tail is None or not kind or streamed or b"x-amz-tenant-id" in headers:
            self._check_headers(raw_path, query, headers)
        _check_request(headers)
        if kind == "RequestResponse" and streamed:
            scope[CANCEL_ON_DISCONNECT] = True
            await self._streamed(send, address, _invocation(headers, body, bool(log_tail), request_id))
            self._metrics.observe(time.perf_counter() - started)
        elif kind == "RequestResponse":
            # From here on the invocation is the client's alone: when it goes, the invocation is cancelled.
            scope[CANCEL_ON_DISCONNECT] = True
            await self._request_response(scope[EXCHANGE], address, _invocation(headers, body, bool(log_tail), request_id))
            self._metrics.observe(time.perf_counter() - started)
        elif kind == "Event":
            await self._event(send, address, headers, body, request_id)
        else:
            await self._resolver.resolve(address.name, address.qualifier)
            self._metrics.count("dry_run")
            await send_answer(send, 204, _NOTHING, b"", request_id)

    async def _request_response(self, exchange: Exchange, address: Address, invocation: Invocation) -> None:
        result = await self._invoker.invoke(address.name, address.qualifier, invocation, wait_s=self._queue_wait_s)
        self._metrics.count("ok" if result.function_error is None else "function_error")
        head = (
            b"content-type: application/json\r\nx-amz-executed-version: %b\r\nx-amzn-requestid: %b\r\ncontent-length: %d\r\n"
            % (
                result.executed_version.encode(),
                invocation.request_id.encode(),
                len(result.payload),
            )
        )
        if result.function_error is not None:
            head += b"x-amz-function-error: %b\r\n" % result.function_error.encode()
        if invocation.log_tail:
            head += b"x-amz-log-result: %b\r\n" % base64.b64encode(result.log_tail)
        # Not through ASGI's two messages: this is the answer that has to be fast.
        exchange.answer(200, head, result.payload)

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

    async def _event(self, send: Send, address: Address, headers: Mapping[bytes, bytes], body: bytes, request_id: str) -> None:
        if body:
            require_json(body)
        await self._resolver.resolve(address.name, address.qualifier)
        trace = headers.get(b"x-amzn-trace-id")
        await self._queue.enqueue(
            AsyncEvent(
                event_id=request_id,
                function_name=address.name,
                qualifier=address.qualifier,
                payload=body or b"{}",
                accepted_at_ms=int(time.time() * 1000),
                trace=None if trace is None else trace.decode("latin-1"),
            )
        )
        self._metrics.count("accepted")
        await send_answer(send, 202, _NOTHING, b"", request_id)

    def _parse_address(self, raw_path: bytes, query: bytes) -> Address:
        """Function and qualifier from path and query, by the model. Raises ApiError."""
        operation, params = self._parse(raw_path, query, {})
        validate(operation, params)
        reference = parse_function_reference(params["FunctionName"])
        require_reachable(reference, account_id=self._account_id, region=self._region)
        address = Address(reference.name, merge_qualifier(reference, params.get("Qualifier")))
        if len(self._addresses) >= ADDRESSES_MAX:
            self._addresses.clear()
        self._addresses[(raw_path, query)] = address
        return address

    def _check_headers(self, raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes]) -> None:
        """The slow way, for a request whose headers hold something unusual: the model says what is wrong with it."""
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        operation, params = self._parse(raw_path, query, texts)
        validate(operation, params)

    def _parse(self, raw_path: bytes, query: bytes, headers: Mapping[str, str]) -> tuple[Operation, dict[str, Any]]:
        parsed = parse_query(query.decode("latin-1"))
        route = self._router.route("POST", raw_path.decode("latin-1"), parsed)
        if route is None:
            raise ServiceException("The path of the invoke route has no operation.")
        return route.operation, parse_params(route, parsed, headers, b"{}")


def is_invoke(method: str, raw_path: bytes) -> bool:
    """Whether a request is for this application rather than for the control plane."""
    if method != "POST":
        return False
    path = raw_path[:-1] if raw_path.endswith(b"/") else raw_path
    for prefix, suffix in ROUTES:
        if path.startswith(prefix) and path.endswith(suffix):
            return path.count(b"/") == 4
    return False


def _invocation(headers: Mapping[bytes, bytes], body: bytes, log_tail: bool, request_id: str) -> Invocation:
    if body:
        require_json(body)
    trace = headers.get(b"x-amzn-trace-id")
    return Invocation(
        request_id=request_id,
        payload=body or b"{}",
        log_tail=log_tail,
        client_context=_client_context(headers.get(b"x-amz-client-context")),
        trace=None if trace is None else trace.decode("latin-1"),
    )


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


def _check_request(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type")
    if content_type is not None and content_type.lower().startswith(_NOT_JSON_TYPES):
        raise UnsupportedMediaTypeException(f"Unsupported content type: {content_type.decode('latin-1')}")
    request_id = headers.get(b"x-amzn-requestid")
    if request_id is not None and _UUID.fullmatch(request_id) is None:
        raise InvalidRequestContentException("The x-amzn-RequestId header is not a valid UUID.")


def _client_context(value: bytes | None) -> str | None:
    if not value:
        return None
    if len(value) > CLIENT_CONTEXT_BYTES_MAX:
        raise InvalidRequestContentException(f"Client context must be at most {CLIENT_CONTEXT_BYTES_MAX} bytes of Base64.")
    try:
        text = base64.b64decode(value, validate=True)
        _decode_json(text)
        return text.decode()
    except (binascii.Error, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.") from error


def _too_large(size_bytes: int) -> ApiError:
    del size_bytes
    return RequestEntityTooLargeException(
        f"Request must be smaller than {SYNC_PAYLOAD_BYTES_MAX} bytes for the InvokeFunction operation"
    )


def _too_large_for_event(size_bytes: int) -> ApiError:
    return RequestTooLargeException(
        f"{size_bytes} byte payload is too large for the Event invocation type (limit {ASYNC_PAYLOAD_BYTES_MAX} bytes)"
    )
