"""An operation's reply as status, headers and body, by its output shape."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.aws.service_model import Kind, Location, Operation, Shape

Headers = list[tuple[bytes, bytes]]
BODILESS = frozenset({204, 304})
_encode = msgspec.json.Encoder().encode


class Response(msgspec.Struct, frozen=True):
    """headers: lower-case names, without content-length and what every response has."""

    status: int
    headers: Headers
    body: bytes


def serialize_reply(operation: Operation, reply: Mapping[str, Any] | None) -> Response:
    """reply: by the model's member names; None values and members that the model does not know are left out.

    The status is the reply's StatusCode, or the model's.
    """
    shape = operation.output
    reply = reply or {}
    status = int(reply.get("StatusCode") or operation.status)
    if shape is None:
        return Response(status, [], b"")
    headers: Headers = []
    for member in shape.members.values():
        value = reply.get(member.name)
        if value is None:
            continue
        if member.location is Location.HEADER:
            headers.append((member.wire_name.lower().encode("latin-1"), _text(member.shape, value).encode("latin-1")))
        elif member.location is Location.STATUS:
            status = int(value)
    if status in BODILESS:
        return Response(status, headers, b"")
    if shape.payload is not None:
        return Response(status, headers, _payload(shape.members[shape.payload].shape, reply.get(shape.payload)))
    headers.append((b"content-type", b"application/json"))
    return Response(status, headers, _encode(_structure(shape, reply)))


def _payload(shape: Shape, value: Any) -> bytes:
    if value is None:
        return b""
    return bytes(value) if shape.kind is Kind.BLOB else _encode(_value(shape, value))


def _structure(shape: Shape, value: Mapping[str, Any]) -> dict[str, Any]:
    """In the reply's own order: handlers write members in AWS's."""
    found = {}
    for name, item in value.items():
        member = shape.members.get(name)
        if member is not None and item is not None and member.location is Location.BODY:
            found[member.wire_name] = _value(member.shape, item)
    return found


def _value(shape: Shape, value: Any) -> Any:
    match shape.kind:
        case Kind.STRUCTURE:
            return _structure(shape, value)
        case Kind.LIST:
            element = shape.element
            assert element is not None
            return [_value(element, item) for item in value]
        case Kind.MAP:
            element = shape.element
            assert element is not None
            return {str(key): _value(element, item) for key, item in value.items()}
        case Kind.TIMESTAMP:
            return _unix_seconds(value)
        case Kind.BLOB:
            return base64.b64encode(value).decode()
    return value


def _unix_seconds(value: datetime | float) -> float:
    """rest-json's default: a number of seconds, whole where it can be."""
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return int(value) if value == int(value) else round(value, 3)


def _text(shape: Shape, value: Any) -> str:
    if shape.kind is Kind.BOOLEAN:
        return "true" if value else "false"
    return str(value)
