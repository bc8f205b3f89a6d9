"""A request's path, query, headers and body as the parameters of its operation, types checked against the model's shapes.

A value of the wrong JSON type is a SerializationException, as on AWS; ranges and patterns are `validation`'s business.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.aws.routing import Route
from shared.aws.service_model import Kind, Location, Member, Shape
from shared.domain.errors import SerializationException

INTEGER_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1
TIMESTAMP_MIN_S, TIMESTAMP_MAX_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_TYPE_NAMES = {
    Kind.STRING: "a String",
    Kind.INTEGER: "an Integer",
    Kind.LONG: "a Long",
    Kind.DOUBLE: "a Double",
    Kind.BOOLEAN: "a Boolean",
    Kind.BLOB: "a Blob",
    Kind.TIMESTAMP: "a Timestamp",
}

Params = dict[str, Any]
"""By the members' names in the model: str, int, float, bool, bytes (blobs), float Unix seconds (timestamps), list, dict."""


def parse_params(route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
    """headers: by lower-case name. Raises SerializationException. Members that were left out or null are absent."""
    shape = route.operation.input
    if shape is None:
        return {}
    params: Params = {}
    for member in shape.members.values():
        value = _outside_body(member, route.labels, query, headers)
        if value is not None:
            params[member.name] = value
    if shape.payload is not None:
        _parse_payload(shape.members[shape.payload], body, params)
    elif any(member.location is Location.BODY for member in shape.members.values()):
        params.update(_structure(shape, _json_object(body)))
    return params


def _outside_body(member: Member, labels: Mapping[str, str], query: Mapping[str, list[str]], headers: Mapping[str, str]) -> Any:
    if member.location is Location.URI:
        text = labels.get(member.wire_name)
    elif member.location is Location.HEADER:
        text = headers.get(member.wire_name.lower())
    elif member.location is Location.QUERY:
        values = query.get(member.wire_name)
        if values is None:
            return None
        element = member.shape.element
        if member.shape.kind is Kind.LIST and element is not None:
            return [_from_text(element, value) for value in values]
        text = values[0]
    else:
        return None
    return None if text is None else _from_text(member.shape, text)


def _from_text(shape: Shape, text: str) -> Any:
    """A value that travels as text in a path, a query or a header."""
    try:
        match shape.kind:
            case Kind.STRING:
                return _string(text)
            case Kind.INTEGER | Kind.LONG:
                if _NUMBER.fullmatch(text) is not None:
                    return _integer(shape.kind, int(text))
            case Kind.DOUBLE:
                return _double(float(text))
            case Kind.BOOLEAN:
                return {"true": True, "false": False}[text.lower()]
            case Kind.TIMESTAMP:
                return _timestamp(text)
    except (ValueError, KeyError):
        pass
    raise _cannot_convert("STRING_VALUE", shape.kind)


def _parse_payload(member: Member, body: bytes, params: Params) -> None:
    if member.shape.kind is Kind.BLOB:
        params[member.name] = body
    elif body:
        params[member.name] = _structure(member.shape, _json_object(body))


def _json_object(body: bytes) -> dict[str, Any]:
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


def _structure(shape: Shape, value: dict[str, Any]) -> Params:
    """Members that the model does not know are ignored, as AWS ignores them."""
    found: Params = {}
    for member in shape.members.values():
        if member.location is Location.BODY:
            raw = value.get(member.wire_name)
            if raw is not None:
                found[member.name] = _value(member.shape, raw)
    return found


def _value(shape: Shape, value: Any) -> Any:
    match shape.kind:
        case Kind.STRUCTURE:
            if not isinstance(value, dict):
                raise SerializationException("Expected structure or null")
            return _structure(shape, value)
        case Kind.LIST:
            if not isinstance(value, list):
                raise SerializationException("Expected list or null")
            element = _known(shape.element)
            return [None if item is None else _value(element, item) for item in value]
        case Kind.MAP:
            if not isinstance(value, dict):
                raise SerializationException("Expected map or null")
            element = _known(shape.element)
            return {_string(key): _value(element, item) for key, item in value.items() if item is not None}
    return _scalar(shape, value)


def _known(shape: Shape | None) -> Shape:
    assert shape is not None
    return shape


def _scalar(shape: Shape, value: Any) -> Any:
    if isinstance(value, dict):
        raise SerializationException("Start of structure or map found where not expected.")
    if isinstance(value, list):
        raise SerializationException("Start of list found where not expected")
    kind = shape.kind
    if isinstance(value, str):
        if kind is Kind.STRING:
            return _string(value)
        if kind is Kind.BLOB:
            return _blob(value)
        if kind is Kind.TIMESTAMP:
            return _timestamp(value)
        raise _cannot_convert("STRING_VALUE", kind)
    if isinstance(value, bool):
        if kind is Kind.BOOLEAN:
            return value
        raise _cannot_convert("TRUE_VALUE" if value else "FALSE_VALUE", kind)
    if kind is Kind.INTEGER or kind is Kind.LONG:
        return _integer(kind, value)
    if kind is Kind.DOUBLE:
        return _double(value)
    if kind is Kind.TIMESTAMP:
        return _in_calendar(value)
    raise _cannot_convert("NUMBER_VALUE" if isinstance(value, int) else "DECIMAL_VALUE", kind)


def _cannot_convert(found: str, kind: Kind) -> SerializationException:
    return SerializationException(f"{found} can not be converted to {_TYPE_NAMES.get(kind, kind)}")


def _string(text: str) -> str:
    """Text without NUL: no field of the API may hold one, and the registry could not store it."""
    if "\x00" in text:
        raise SerializationException("A string must not contain the character U+0000")
    return text


def _integer(kind: Kind, value: float) -> int:
    number = int(value)
    if abs(number) > (INTEGER_MAX if kind is Kind.INTEGER else LONG_MAX):
        raise _cannot_convert("NUMBER_VALUE", kind)
    return number


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SerializationException(f"STRING_VALUE can not be converted to a Blob: {error}") from error


def _double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _cannot_convert("NUMBER_VALUE", Kind.DOUBLE)
    return number


def _timestamp(text: str) -> float:
    """Unix seconds from a number in text or from ISO 8601."""
    if _DECIMAL.fullmatch(text) is not None:
        return _in_calendar(float(text))
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return _in_calendar((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise _cannot_convert("STRING_VALUE", Kind.TIMESTAMP) from error


def _in_calendar(value: float) -> float:
    """Whoever gets a timestamp can make a date of it."""
    if not TIMESTAMP_MIN_S <= value <= TIMESTAMP_MAX_S:
        raise _cannot_convert("NUMBER_VALUE", Kind.TIMESTAMP)
    return float(value)
