"""What a message may be: its size, its attributes, its text for each protocol. Texts were recorded from AWS."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from services.frontend.apis.sns.errors import InvalidParameterException, ValidationErrorException, invalid
from shared.domain.errors import InvalidParameterValueException
from shared.domain.topics import MESSAGE_BYTES_MAX, Topic
from shared.events.records import MessageAttribute

NAME_CHARACTERS_MAX = 256
SUBJECT_CHARACTERS_MAX = 100
ATTRIBUTES_MAX = 1_000
_TYPES = ("Binary", "Number", "String")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ID = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")

Entry = Mapping[str, Any]
"""The parameters of Publish, or an entry of PublishBatch."""


def check_text(entry: Entry) -> None:
    """Message, Subject and MessageStructure. Raises InvalidParameterException."""
    message, subject = entry.get("Message"), entry.get("Subject")
    if not message:
        raise InvalidParameterException("Invalid parameter: Empty message")
    if subject is not None and not _is_subject(subject):
        raise InvalidParameterException("Invalid parameter: Subject")
    structure = entry.get("MessageStructure")
    if structure == "json":
        _check_structured(message)
    elif structure:
        raise InvalidParameterException("Invalid parameter: MessageStructure")


def _is_subject(subject: str) -> bool:
    return 0 < len(subject) <= SUBJECT_CHARACTERS_MAX and subject.isprintable() and not subject[0].isspace()


def _check_structured(message: str) -> None:
    try:
        texts = json.loads(message)
    except (ValueError, RecursionError):
        raise invalid("Message Structure - JSON message body failed to parse") from None
    if not isinstance(texts, dict) or not isinstance(texts.get("default"), str):
        raise invalid("Message Structure - No default entry in JSON message body")


def check_size(size_bytes: int) -> None:
    if size_bytes > MESSAGE_BYTES_MAX:
        raise InvalidParameterException("Invalid parameter: Message too long")


def size_of(entry: Entry, attributes: Mapping[str, MessageAttribute]) -> int:
    """Of the message in UTF-8 and of each attribute's name, type and value."""
    size = len((entry.get("Message") or "").encode())
    for name, attribute in attributes.items():
        value = attribute.text.encode() if attribute.binary is None else attribute.binary
        size += len(name.encode()) + len(attribute.data_type.encode()) + len(value)
    return size


def read_attributes(entry: Entry) -> dict[str, MessageAttribute]:
    """Raises InvalidParameterValueException in AWS's words."""
    given = entry.get("MessageAttributes") or {}
    if len(given) > ATTRIBUTES_MAX:
        raise InvalidParameterException("Invalid parameter: Too many message attributes")
    return {name: _attribute(name, value) for name, value in given.items()}


def _attribute(name: str, given: Mapping[str, Any]) -> MessageAttribute:
    _check_name(name)
    kind = given.get("DataType")
    if kind is None:
        raise ValidationErrorException(
            f"1 validation error detected: Value null at 'messageAttributes.{name}.member.dataType' "
            "failed to satisfy constraint: Member must not be null"
        )
    base, dot, label = kind.partition(".")
    if base not in _TYPES or (dot and not label):
        raise InvalidParameterValueException(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    wanted, other = ("BinaryValue", "StringValue") if base == "Binary" else ("StringValue", "BinaryValue")
    if given.get(other) and not given.get(wanted):
        field = "Binary" if base == "Binary" else "String"
        raise InvalidParameterValueException(f"The message attribute '{name}' with type '{kind}' must use field '{field}'.")
    value = given.get(wanted)
    if not value:
        raise InvalidParameterValueException(
            f"The message attribute '{name}' must contain non-empty message attribute value "
            f"for message attribute type '{kind}'."
        )
    if base == "Number" and _NUMBER.fullmatch(value) is None:
        raise InvalidParameterValueException(f"Could not cast message attribute '{name}' value to number.")
    return MessageAttribute(kind, binary=value) if base == "Binary" else MessageAttribute(kind, value)


def _check_name(name: str) -> None:
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise InvalidParameterValueException("Length of message attribute name must be less than 256 bytes.")
    for char in name:
        if not (char.isascii() and (char.isalnum() or char in "-_.")):
            raise InvalidParameterValueException(
                f"Invalid non-alphanumeric character '#x{ord(char):X}' was found in the message attribute name. "
                "Can only include alphanumeric characters, hyphens, underscores, or dots."
            )
    for place, where in ((0, "starting"), (-1, "ending")):
        if name[place] == ".":
            raise InvalidParameterValueException(f"Invalid message attribute name {where} with character '.' was found.")
    if ".." in name:
        raise InvalidParameterValueException("Message attribute name can not have successive '.' character.")


def check_order(topic: Topic, entry: Entry) -> None:
    """MessageGroupId and MessageDeduplicationId, by the topic's kind. Raises InvalidParameterException."""
    group, deduplication = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    if topic.fifo:
        if not group:
            raise InvalidParameterException("Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
        if not deduplication and not topic.deduplicates_by_content:
            raise InvalidParameterException(
                "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or "
                "MessageDeduplicationId provided explicitly"
            )
    elif deduplication is not None:
        raise invalid(
            "MessageDeduplicationId",
            "The request includes MessageDeduplicationId parameter that is not valid for this topic type",
        )
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", deduplication)):
        if value is not None and _ID.fullmatch(value) is None:
            raise invalid(name, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length")
