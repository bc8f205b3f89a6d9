"""What an invoke request asks for: read from its path, query, headers and body. No I/O, nothing is run.

Everything here runs once per invocation, so what repeats is computed once: parsed paths stay in memory.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from services.frontend.invoke.json_check import require_json
from shared.aws.protocols.rest_json import parse_params
from shared.aws.routing import Router, parse_query
from shared.aws.service_model import Operation
from shared.aws.validation import validate
from shared.domain.arns import Home, function_arn, merge_qualifier, parse_function_reference, require_reachable
from shared.domain.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    ServiceException,
    UnsupportedMediaTypeException,
)
from shared.domain.invocations import Invocation
from shared.domain.limits import CLIENT_CONTEXT_BYTES_MAX, TRACE_BYTES_MAX
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
TENANT, DURABLE = b"x-amz-tenant-id", b"x-amz-durable-execution-name"
UNAVAILABLE = {
    TENANT: (
        "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again."
    ),
    DURABLE: "Durable executions are not available here: the invoked function has no DurableConfig.",
}
"""Headers that ask for what no function here has."""
ADDRESSES_MAX = 10_000
REQUEST_RESPONSE, EVENT, DRY_RUN = "RequestResponse", "Event", "DryRun"
OLD_EVENT = "InvokeAsync"
"""Of the operation that was there before Event: with a limit of its own, and its trace header does not reach the function."""

_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NOT_JSON_TYPES = (b"text/html", b"text/xml", b"application/xml", b"image/", b"audio/", b"video/", b"multipart/")
_KINDS = {None: REQUEST_RESPONSE, b"RequestResponse": REQUEST_RESPONSE, b"Event": EVENT, b"DryRun": DRY_RUN}
_LOG_TYPES = {None: False, b"None": False, b"Tail": True}

_decode_json = msgspec.json.Decoder(msgspec.Raw).decode


class Address(msgspec.Struct, frozen=True):
    """function_arn: without a qualifier. name, region: what it is made of."""

    function_arn: str
    qualifier: str | None
    name: str
    region: str


class InvokeRequest(msgspec.Struct, frozen=True):
    """kind: REQUEST_RESPONSE, EVENT, OLD_EVENT or DRY_RUN. streamed: the response is wanted as an event stream.
    headers: by lower-case name. started: when the request was complete, by time.perf_counter()."""

    request_id: str
    address: Address
    kind: str
    streamed: bool
    log_tail: bool
    headers: Mapping[bytes, bytes]
    body: bytes
    started: float

    def invocation(self) -> Invocation:
        """Raises InvalidRequestContentException for a payload or a client context that is none, or a trace that is too long."""
        headers, body = self.headers, self.body
        if body:
            require_json(body)
        return Invocation(
            request_id=self.request_id,
            payload=body or b"{}",
            log_tail=self.log_tail,
            client_context=_client_context(headers.get(b"x-amz-client-context")),
            trace=_trace(headers),
        )

    def event(self) -> AsyncEvent:
        """Accepted now. Raises InvalidRequestContentException for a payload that is no JSON, or a trace that is too long."""
        if self.body:
            require_json(self.body)
        return AsyncEvent(
            event_id=self.request_id,
            function_name=self.address.name,
            qualifier=self.address.qualifier,
            payload=self.body or b"{}",
            accepted_at_ms=int(time.time() * 1000),
            trace=None if self.kind == OLD_EVENT else _trace(self.headers),
            region=self.address.region,
        )


class InvokeRequests:
    """Reads requests, by the service model where it is not obvious."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._addresses: dict[tuple[str, bytes, bytes], Address] = {}

    def read(
        self,
        request_id: str,
        home: Home,
        raw_path: bytes,
        query: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        started: float,
    ) -> InvokeRequest:
        """Raises ApiError for whatever the path, the query or the headers have wrong."""
        address = self._addresses.get((home.region, raw_path, query))
        if address is None:
            address = self._parse_address(home, raw_path, query)
        kind = kind_of(raw_path, headers)
        log_tail = _LOG_TYPES.get(headers.get(b"x-amz-log-type"))
        streamed = raw_path.startswith(STREAM_PREFIX)
        if log_tail is None or not kind or streamed or TENANT in headers or DURABLE in headers:
            self._check_headers(raw_path, query, headers)
        _check_request(headers)
        return InvokeRequest(request_id, address, kind, streamed, bool(log_tail), headers, body, started)

    def _parse_address(self, home: Home, raw_path: bytes, query: bytes) -> Address:
        """Function and qualifier from path and query, by the model. Raises ApiError."""
        operation, params = self._parse(raw_path, query, {})
        validate(operation, params)
        reference = parse_function_reference(params["FunctionName"])
        require_reachable(reference, home)
        name, qualifier = reference.name, merge_qualifier(reference, params.get("Qualifier"))
        address = Address(function_arn(home, name), qualifier, name, home.region)
        if len(self._addresses) >= ADDRESSES_MAX:
            self._addresses.clear()
        self._addresses[(home.region, raw_path, query)] = address
        return address

    def _check_headers(self, raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes]) -> None:
        """The slow way, for a request whose headers hold something unusual: the model says what is wrong with it."""
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        operation, params = self._parse(raw_path, query, texts)
        validate(operation, params)
        for header, text in UNAVAILABLE.items():
            if header in headers:
                raise InvalidParameterValueException(text)

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


def kind_of(raw_path: bytes, headers: Mapping[bytes, bytes]) -> str:
    """Empty for a kind that does not exist."""
    if raw_path.startswith(INVOKE_ASYNC_PREFIX):
        return OLD_EVENT
    return _KINDS.get(headers.get(b"x-amz-invocation-type"), "")


def _trace(headers: Mapping[bytes, bytes]) -> str | None:
    trace = headers.get(b"x-amzn-trace-id")
    if trace is None:
        return None
    if len(trace) > TRACE_BYTES_MAX:
        raise InvalidRequestContentException(f"The X-Amzn-Trace-Id header must be at most {TRACE_BYTES_MAX} bytes.")
    return trace.decode("latin-1")


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
