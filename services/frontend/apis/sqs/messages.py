"""Messages on their way in: what one may hold, and their MD5s."""

from __future__ import annotations

import decimal
import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Any

from services.frontend.apis.sqs.errors import (
    InvalidMessageContents,
    MissingRequiredParameterException,
    UnsupportedOperation,
    bad_value,
)
from shared.aws.protocols.protocol import Params
from shared.domain.errors import InvalidParameterValueException
from shared.queues.records import ATTRIBUTES_MAX, Attribute, Message

NAME_BYTES_MAX = 256
DELAY_S_MAX = 900
TRACE_HEADER = "AWSTraceHeader"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_RESERVED = ("aws.", "amazon.")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
NUMBER_DIGITS_MAX = 38
NUMBER_MAGNITUDES = (-128, 126)
"""Powers of ten. Source: the developer guide's "Amazon SQS message metadata"."""
_TYPES = ("Binary", "Number", "String")
_length = struct.Struct(">I").pack


def outgoing(entry: Params, *, fifo: bool, sender_id: str, trace_header: str | None) -> Message:
    """A message of a SendMessage or of an entry of its batch. trace_header: of the request itself.

    Raises MissingRequiredParameterException, InvalidMessageContents, InvalidParameterValueException, UnsupportedOperation.
    """
    body = entry.get("MessageBody")
    if not body:
        raise MissingRequiredParameterException("MessageBody")
    check_content(body)
    given, system = entry.get("MessageAttributes"), entry.get("MessageSystemAttributes")
    if system:
        trace_header = _trace_header(system) or trace_header
    _check_ids(entry, fifo=fifo)
    return Message(
        body=body.encode(),
        attributes=_attributes(given) if given else {},
        sender_id=sender_id,
        trace_header=trace_header,
        delay_s=_delay(entry.get("DelaySeconds"), fifo=fifo),
        group_id=entry.get("MessageGroupId"),
        deduplication_id=entry.get("MessageDeduplicationId"),
    )


def size_of(entry: Params) -> int:
    """In bytes, as `Message.size_bytes`, of what may be no message."""
    texts = [entry.get("MessageBody")]
    for name, given in (entry.get("MessageAttributes") or {}).items():
        texts += (name, given.get("DataType"), given.get("StringValue"), given.get("BinaryValue"))
    return sum(len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass")) for text in texts if text)


def check_content(text: str) -> None:
    # Whatever is printable is allowed, and told sooner than a search ends.
    if not text.isprintable() and _FORBIDDEN.search(text) is not None:
        raise InvalidMessageContents


def md5_of_attributes(attributes: Mapping[str, Attribute]) -> str | None:
    """As SDKs reckon it, too; None for none. Source: the developer guide's "Calculating the MD5 message digest"."""
    if not attributes:
        return None
    found = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        each = attributes[name]
        value = each.binary_value if each.binary_value is not None else (each.string_value or "").encode()
        kind = b"\x02" if each.binary_value is not None else b"\x01"
        key, data_type = name.encode(), each.data_type.encode()
        found.update(b"".join((_length(len(key)), key, _length(len(data_type)), data_type, kind, _length(len(value)), value)))
    return found.hexdigest()


def md5_of_system_attributes(entry: Params) -> str | None:
    """Of those that a request names itself."""
    system = entry.get("MessageSystemAttributes")
    if not system:
        return None
    return md5_of_attributes({name: Attribute(given["DataType"], given["StringValue"]) for name, given in system.items()})


def check_id(value: str, parameter: str) -> None:
    """Raises InvalidParameterValueException."""
    if _ID.fullmatch(value) is None:
        reason = f"{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise bad_value(value, parameter, reason)


def _check_ids(entry: Params, *, fifo: bool) -> None:
    group_id, deduplication_id = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    if group_id is not None:
        check_id(group_id, "MessageGroupId")
    elif fifo:
        raise MissingRequiredParameterException("MessageGroupId")
    if deduplication_id is not None:
        if not fifo:
            raise _of_another_kind(deduplication_id, "MessageDeduplicationId")
        check_id(deduplication_id, "MessageDeduplicationId")


def _delay(delay_s: int | None, *, fifo: bool) -> int | None:
    if delay_s is None:
        return None
    if not 0 <= delay_s <= DELAY_S_MAX:
        raise bad_value(delay_s, "DelaySeconds", f"DelaySeconds must be >= 0 and <= {DELAY_S_MAX}.")
    if not fifo:
        return delay_s
    if delay_s:
        raise _of_another_kind(delay_s, "DelaySeconds")
    return None


def _of_another_kind(value: object, parameter: str) -> InvalidParameterValueException:
    return bad_value(value, parameter, "The request include parameter that is not valid for this queue type.")


def _trace_header(system: Mapping[str, Any]) -> str | None:
    for name, given in system.items():
        if name != TRACE_HEADER:
            raise InvalidParameterValueException(f"Message system attribute name '{name}' is invalid.")
        if given.get("DataType") != "String" or not given.get("StringValue"):
            raise InvalidParameterValueException(
                f"Message system attribute '{name}' must contain a non-empty value of type 'String'."
            )
        check_content(given["StringValue"])
    found = system.get(TRACE_HEADER)
    return None if found is None else str(found["StringValue"])


def _attributes(given: Mapping[str, Any]) -> dict[str, Attribute]:
    if len(given) > ATTRIBUTES_MAX:
        raise InvalidParameterValueException(
            f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{ATTRIBUTES_MAX}]."
        )
    return {name: _attribute(name, value) for name, value in given.items()}


def _attribute(name: str, given: Mapping[str, Any]) -> Attribute:
    _check_name(name)
    data_type = given.get("DataType")
    if "StringListValues" in given or "BinaryListValues" in given:
        raise UnsupportedOperation("Message attribute list values in SendMessage operation are not supported.")
    text, binary = given.get("StringValue"), given.get("BinaryValue")
    if not data_type:
        what = "value" if text is None and binary is None else "type"
        raise InvalidParameterValueException(
            f"The message (user) attribute '{name}' must contain a non-empty message attribute {what}."
        )
    base = data_type.partition(".")[0]
    if base not in _TYPES:
        raise InvalidParameterValueException(
            f"The type of message (user) attribute '{name}' is invalid. "
            "You must use only the following supported type prefixes: Binary, Number, String."
        )
    if len(data_type.encode("utf-8", "replace")) >= NAME_BYTES_MAX:
        raise InvalidParameterValueException(f"Message (user) attribute type must be shorter than {NAME_BYTES_MAX} bytes.")
    _check_attribute_content(data_type)
    value, other = (binary, text) if base == "Binary" else (text, binary)
    if not value or other:
        raise InvalidParameterValueException(
            f"Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
        )
    if base == "Binary":
        return Attribute(data_type, binary_value=binary)
    _check_attribute_content(text or "")
    if base == "Number" and not _is_number((text or "").strip()):
        raise InvalidParameterValueException(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    return Attribute(data_type, text)


def _is_number(text: str) -> bool:
    if _NUMBER.fullmatch(text) is None:
        return False
    number = decimal.Decimal(text)
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    least, most = NUMBER_MAGNITUDES
    return len(digits) <= NUMBER_DIGITS_MAX and (not digits or least <= number.adjusted() <= most)


def _check_attribute_content(text: str) -> None:
    """Of attributes it is the same text with another code."""
    try:
        check_content(text)
    except InvalidMessageContents as error:
        raise InvalidParameterValueException(error.message) from error


def _check_name(name: str) -> None:
    if not name:
        raise InvalidParameterValueException("The request must contain non-empty message (user) attribute names.")
    if len(name) >= NAME_BYTES_MAX:
        raise InvalidParameterValueException(f"Message (user) attribute name must be shorter than {NAME_BYTES_MAX} bytes.")
    if name.lower().startswith(_RESERVED):
        raise InvalidParameterValueException(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. "
            "These strings are reserved for internal use."
        )
    if _ATTRIBUTE_NAME.fullmatch(name) is None:
        raise InvalidParameterValueException(
            f"Message (user) attribute name '{name}' is invalid. It can only contain alphanumeric characters, hyphens, "
            "underscores and single periods within."
        )
