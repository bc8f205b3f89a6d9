"""Values as JSON: read with their types checked against the model's shapes, and written by them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.aws.protocols import scalars
from shared.aws.protocols.protocol import Params, known
from shared.aws.service_model import Kind, Location, Shape
from shared.domain.errors import SerializationException

encode = msgspec.json.Encoder().encode


def read_object(body: bytes) -> dict[str, Any]:
    """A body that holds an object, or nothing. Raises SerializationException."""
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SerializationException(f"Could not parse request body into json: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SerializationException("Expected structure or null")
    return value


def read_structure(shape: Shape, value: dict[str, Any]) -> Params:
    """Members that the model does not know are ignored, as AWS ignores them."""
    found: Params = {}
    for member in shape.body:
        raw = value.get(member.wire_name)
        if raw is not None:
            found[member.name] = read(member.shape, raw)
    return found


def read(shape: Shape, value: Any) -> Any:
    kind = shape.kind
    if kind is Kind.STRING and type(value) is str:
        # Most are texts.
        return scalars.string(value)
    match kind:
        case Kind.STRUCTURE:
            if shape.document:
                return value
            if not isinstance(value, dict):
                raise SerializationException("Expected structure or null")
            return read_structure(shape, value)
        case Kind.LIST:
            if not isinstance(value, list):
                raise SerializationException("Expected list or null")
            element = known(shape.element)
            return [None if item is None else read(element, item) for item in value]
        case Kind.MAP:
            if not isinstance(value, dict):
                raise SerializationException("Expected map or null")
            element = known(shape.element)
            return {scalars.string(key): read(element, item) for key, item in value.items() if item is not None}
    return _scalar(shape, value)


def _scalar(shape: Shape, value: Any) -> Any:
    if isinstance(value, dict):
        raise SerializationException("Start of structure or map found where not expected.")
    if isinstance(value, list):
        raise SerializationException("Start of list found where not expected")
    kind = shape.kind
    if isinstance(value, str):
        if kind is Kind.STRING or kind is Kind.CHARACTER:
            return scalars.string(value)
        if kind is Kind.BLOB:
            return scalars.blob(value)
        if kind is Kind.TIMESTAMP:
            return scalars.timestamp(value)
        raise scalars.cannot_convert("STRING_VALUE", kind)
    if isinstance(value, bool):
        if kind is Kind.BOOLEAN:
            return value
        raise scalars.cannot_convert("TRUE_VALUE" if value else "FALSE_VALUE", kind)
    if kind is Kind.INTEGER or kind is Kind.LONG:
        return scalars.integer(kind, value)
    if kind is Kind.DOUBLE or kind is Kind.FLOAT:
        return scalars.double(value)
    if kind is Kind.TIMESTAMP:
        return scalars.in_calendar(value)
    raise scalars.cannot_convert("NUMBER_VALUE" if isinstance(value, int) else "DECIMAL_VALUE", kind)


def write_structure(shape: Shape, value: Mapping[str, Any]) -> dict[str, Any]:
    """In the reply's own order: handlers write members in AWS's."""
    found = {}
    members = shape.members
    for name, item in value.items():
        member = members.get(name)
        if member is not None and item is not None and member.location is Location.BODY:
            # Most are texts, and go as they are.
            found[member.wire_name] = item if member.shape.kind is Kind.STRING else write(member.shape, item)
    return found


def write(shape: Shape, value: Any) -> Any:
    kind = shape.kind
    if kind is Kind.STRUCTURE:
        return value if shape.document else write_structure(shape, value)
    if kind is Kind.LIST:
        element = known(shape.element)
        return [write(element, item) for item in value]
    if kind is Kind.MAP:
        element = known(shape.element)
        return {str(key): write(element, item) for key, item in value.items()}
    if kind is Kind.TIMESTAMP:
        return scalars.written(value, shape.timestamp or scalars.UNIX)
    if kind is Kind.BLOB:
        return base64.b64encode(value).decode()
    if kind is Kind.DOUBLE or kind is Kind.FLOAT:
        return scalars.finite_or_name(value)
    return value
