"""Single values: as text in paths, queries, headers and XML, and checked against their shape whatever they came from.

A value of another type than its shape's is a SerializationException with the texts of AWS's JSON services; ranges and patterns
are `validation`'s business.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

from shared.aws.service_model import Kind, Shape
from shared.domain.errors import NulCharacterException, SerializationException

INTEGER_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1
TIMESTAMP_MIN_S, TIMESTAMP_MAX_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999."""
ISO8601, RFC822, UNIX = "iso8601", "rfc822", "unixtimestamp"
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_TYPE_NAMES = {
    Kind.STRING: "a String",
    Kind.CHARACTER: "a Character",
    Kind.INTEGER: "an Integer",
    Kind.LONG: "a Long",
    Kind.FLOAT: "a Float",
    Kind.DOUBLE: "a Double",
    Kind.BOOLEAN: "a Boolean",
    Kind.BLOB: "a Blob",
    Kind.TIMESTAMP: "a Timestamp",
}


def from_text(shape: Shape, text: str) -> Any:
    """The value that a text stands for. Raises SerializationException."""
    try:
        match shape.kind:
            case Kind.STRING | Kind.CHARACTER:
                return string(text)
            case Kind.INTEGER | Kind.LONG:
                if _NUMBER.fullmatch(text) is not None:
                    return integer(shape.kind, int(text))
            case Kind.DOUBLE | Kind.FLOAT:
                return double(float(text))
            case Kind.BOOLEAN:
                return {"true": True, "false": False}[text.lower()]
            case Kind.TIMESTAMP:
                return timestamp(text)
            case Kind.BLOB:
                return blob(text)
    except (ValueError, KeyError):
        pass
    raise cannot_convert("STRING_VALUE", shape.kind)


def to_text(shape: Shape, value: Any, timestamps: str) -> str:
    """timestamps: the format of those whose shape names none."""
    match shape.kind:
        case Kind.BOOLEAN:
            return "true" if value else "false"
        case Kind.TIMESTAMP:
            return str(written(value, shape.timestamp or timestamps))
        case Kind.BLOB:
            return base64.b64encode(value).decode()
        case Kind.DOUBLE | Kind.FLOAT:
            return str(finite_or_name(value))
    return str(value)


def written(moment: datetime | float, form: str) -> str | float:
    """A timestamp in one of the formats: text, or a number of seconds, whole where it can be."""
    moment = seconds(moment)
    if form == UNIX:
        return int(moment) if moment == int(moment) else round(moment, 3)
    if form == RFC822:
        return formatdate(moment, usegmt=True)
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds" if moment == int(moment) else "milliseconds")
    return text.replace("+00:00", "Z")


def seconds(moment: datetime | float) -> float:
    """Unix seconds; a moment without a time zone is one of UTC."""
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return moment


def finite_or_name(value: float) -> float | str:
    """A number, or the word that JSON, queries and XML have for those that are none."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def cannot_convert(found: str, kind: Kind) -> SerializationException:
    return SerializationException(f"{found} can not be converted to {_TYPE_NAMES.get(kind, kind)}")


def string(text: str) -> str:
    """Text without NUL: no field of the API may hold one, and the registry could not store it."""
    if "\x00" in text:
        raise NulCharacterException("A string must not contain the character U+0000")
    return text


def integer(kind: Kind, value: float) -> int:
    number = int(value)
    if abs(number) > (INTEGER_MAX if kind is Kind.INTEGER else LONG_MAX):
        raise cannot_convert("NUMBER_VALUE", kind)
    return number


def blob(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SerializationException(f"STRING_VALUE can not be converted to a Blob: {error}") from error


def double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise cannot_convert("NUMBER_VALUE", Kind.DOUBLE)
    return number


def timestamp(text: str) -> float:
    """Unix seconds from a number in text, from ISO 8601 or from an HTTP date."""
    if _DECIMAL.fullmatch(text) is not None:
        return in_calendar(float(text))
    try:
        moment = parsedate_to_datetime(text) if text[3:4] == "," else datetime.fromisoformat(text.replace("Z", "+00:00"))
        return in_calendar((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError) as error:
        raise cannot_convert("STRING_VALUE", Kind.TIMESTAMP) from error


def in_calendar(value: float) -> float:
    """Whoever gets a timestamp can make a date of it."""
    if not TIMESTAMP_MIN_S <= value <= TIMESTAMP_MAX_S:
        raise cannot_convert("NUMBER_VALUE", Kind.TIMESTAMP)
    return float(value)
