"""smithy-rpc-v2-cbor: the operation is in the path (`/service/<target>/operation/<name>`), bodies are CBOR."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shared.aws.protocols import cbor, scalars
from shared.aws.protocols.json_rpc import query_error, status_of
from shared.aws.protocols.protocol import Headers, Params, Response, known, message_key
from shared.aws.routing import Route
from shared.aws.service_model import Kind, Operation, ServiceModel, Shape
from shared.domain.errors import ApiError, SerializationException

HEADER = "rpc-v2-cbor"
"""What the header smithy-protocol says, in requests and replies."""


class RpcV2Cbor:
    name = "smithy-rpc-v2-cbor"

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        del query, headers
        shape = route.operation.input
        if shape is None or not body:
            return {}
        try:
            value = cbor.decode(body)
        except cbor.CborError as error:
            raise SerializationException(f"Could not parse request body into cbor: {error}") from error
        found: Params = _read(shape, value)
        return found

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        del service
        shape = operation.output
        body = b"" if shape is None else cbor.encode(_write(shape, reply or {}))
        return Response(200, _headers(request_id, body), body)

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response:
        body = cbor.encode({"__type": error.code, message_key(service, error): error.message, **error.extra})
        headers = _headers(request_id, body)
        if service.query_compatible:
            headers.append(query_error(service, error))
        return Response(status_of(error), headers, body)


def _headers(request_id: str, body: bytes) -> Headers:
    headers = [(b"smithy-protocol", HEADER.encode()), (b"x-amzn-requestid", request_id.encode())]
    return [(b"content-type", b"application/cbor"), *headers] if body else headers


def _read(shape: Shape, value: Any) -> Any:
    kind = shape.kind
    if kind is Kind.STRUCTURE:
        if not isinstance(value, dict):
            raise SerializationException("Expected structure or null")
        members = ((member, value.get(member.wire_name)) for member in shape.members.values())
        return {member.name: _read(member.shape, item) for member, item in members if item is not None}
    if kind is Kind.LIST:
        if not isinstance(value, list):
            raise SerializationException("Expected list or null")
        return [None if item is None else _read(known(shape.element), item) for item in value]
    if kind is Kind.MAP:
        if not isinstance(value, dict):
            raise SerializationException("Expected map or null")
        return {scalars.string(key): _read(known(shape.element), item) for key, item in value.items() if item is not None}
    return _scalar(kind, value)


def _scalar(kind: Kind, value: Any) -> Any:
    match kind, value:
        case ((Kind.STRING | Kind.CHARACTER), str()):
            return scalars.string(value)
        case Kind.BLOB, bytes():
            return value
        case Kind.BOOLEAN, bool():
            return value
        case Kind.TIMESTAMP, cbor.Moment(seconds):
            return scalars.in_calendar(seconds if math.isfinite(seconds) else math.inf)
        case ((Kind.INTEGER | Kind.LONG), int()) if not isinstance(value, bool):
            return scalars.integer(kind, value)
        case ((Kind.DOUBLE | Kind.FLOAT), (int() | float())) if not isinstance(value, bool):
            return scalars.double(value)
    raise scalars.cannot_convert(f"{type(value).__name__.upper()}_VALUE", kind)


def _write(shape: Shape, value: Any) -> Any:
    match shape.kind:
        case Kind.STRUCTURE:
            found = {}
            for name, item in value.items():
                member = shape.members.get(name)
                if member is not None and item is not None:
                    found[member.wire_name] = _write(member.shape, item)
            return found
        case Kind.LIST:
            return [_write(known(shape.element), item) for item in value]
        case Kind.MAP:
            return {str(key): _write(known(shape.element), item) for key, item in value.items()}
        case Kind.TIMESTAMP:
            return cbor.Moment(scalars.seconds(value))
        case Kind.DOUBLE | Kind.FLOAT:
            return float(value)
    return value
