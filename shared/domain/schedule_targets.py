"""What schedules can have for targets here: templated ones by their ARN, and universal ones, `arn:aws:scheduler:::aws-sdk:...`.

The control plane accepts what is here and the scheduler makes a delivery of each, so that what is accepted can be delivered.
Source: "Templated targets", "Universal targets" in the EventBridge Scheduler user guide.
"""

from __future__ import annotations

import enum
import re
from typing import Any

import msgspec

from shared.domain.destinations import EVENT_BUS, FUNCTION
from shared.domain.errors import ValidationException

INPUT_BYTES_MAX = 256 * 1024
ENTRIES_MAX = 10
"""Of one PutEvents."""
_ARN = re.compile(r"arn:aws[a-z-]*:([a-z0-9-]+):([a-z0-9-]*):(\d{12})?:(.+)", re.DOTALL)
_UNIVERSAL = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-zA-Z0-9-]+):([a-zA-Z0-9]+)")
_QUEUE = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,80}(\.fifo)?")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,256}(\.fifo)?")


class Kind(enum.Enum):
    """Of a target. json: whether its Input has to be JSON. needs: members that a universal target's Input must have."""

    FUNCTION = "Lambda's functions"
    QUEUE = "SQS's queues"
    TOPIC = "SNS's topics"
    BUS = "EventBridge's buses"
    INVOKE = "lambda:invoke"
    SEND_MESSAGE = "sqs:sendMessage"
    PUBLISH = "sns:publish"
    PUT_EVENTS = "eventbridge:putEvents"


TEMPLATED = ((Kind.FUNCTION, FUNCTION.form), (Kind.QUEUE, _QUEUE), (Kind.TOPIC, _TOPIC), (Kind.BUS, EVENT_BUS.form))
JSON_INPUT = frozenset({Kind.FUNCTION, Kind.BUS})
UNIVERSAL = {kind.value: kind for kind in (Kind.INVOKE, Kind.SEND_MESSAGE, Kind.PUBLISH, Kind.PUT_EVENTS)}
MEMBERS = {
    Kind.INVOKE: (("FunctionName",), frozenset({"Payload", "InvocationType", "Qualifier"})),
    Kind.SEND_MESSAGE: (
        ("QueueUrl", "MessageBody"),
        frozenset({"MessageAttributes", "MessageGroupId", "MessageDeduplicationId"}),
    ),
    Kind.PUBLISH: (
        ("TopicArn", "Message"),
        frozenset({"Subject", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId"}),
    ),
    Kind.PUT_EVENTS: (("Entries",), frozenset()),
}
"""Of the Input of a universal target: what it must have, and what it may have besides. All of them are text, but for Entries,
MessageAttributes and Payload."""
ENTRY_MEMBERS = (("Source", "DetailType", "Detail"), frozenset({"EventBusName", "Resources"}))


def kind_of(arn: str) -> Kind:
    """Raises ValidationException: of no ARN, and of a target that nothing here could deliver to."""
    if found := _UNIVERSAL.fullmatch(arn):
        action = f"{found[1]}:{found[2]}"
        if action not in UNIVERSAL:
            raise ValidationException(
                f"The action {action} cannot be the target of a schedule here. Those that can: {', '.join(UNIVERSAL)}."
            )
        return UNIVERSAL[action]
    parts = _ARN.fullmatch(arn)
    if parts is None:
        raise ValidationException("Provided Arn is not in correct format.")
    for kind, form in TEMPLATED:
        if form.fullmatch(arn):
            return kind
    if parts[1] in ("lambda", "sqs", "sns", "events"):
        raise ValidationException("Provided Arn is not in correct format.")
    raise ValidationException(
        f"{parts[1]} cannot be the target of a schedule here. What can: {', '.join(kind.value for kind, _ in TEMPLATED)}."
    )


def check(target: dict[str, Any]) -> None:
    """Of what the service model lets through. Raises ValidationException."""
    kind = kind_of(target["Arn"])
    sent: str | None = target.get("Input")
    if sent is not None and len(sent.encode()) > INPUT_BYTES_MAX:
        raise ValidationException(f"Input must be smaller than {INPUT_BYTES_MAX} bytes.")
    if kind is Kind.BUS and target.get("EventBridgeParameters") is None:
        raise ValidationException("EventBridgeParameters is required for an event bus.")
    if kind in JSON_INPUT and sent is not None:
        _read(sent, Any)
    if kind in MEMBERS:
        universal_input(kind, sent)


def universal_input(kind: Kind, sent: str | None) -> dict[str, Any]:
    """The request that a universal target's Input is. Raises ValidationException."""
    request: dict[str, Any] = _read(sent or "", dict[str, Any])
    _check_members(request, *MEMBERS[kind])
    attributes = request.get("MessageAttributes", {})
    if not isinstance(attributes, dict) or not all(map(_is_attribute, attributes.values())):
        raise _invalid("MessageAttributes is a map of names to DataType and StringValue")
    if kind is Kind.PUT_EVENTS:
        entries = request["Entries"]
        if not isinstance(entries, list) or not 1 <= len(entries) <= ENTRIES_MAX:
            raise _invalid(f"Entries is a list of 1 to {ENTRIES_MAX}")
        for entry in entries:
            if not isinstance(entry, dict):
                raise _invalid("Entries is a list of objects")
            _check_members(entry, *ENTRY_MEMBERS)
            _read(entry["Detail"], dict[str, Any])
    return request


def _check_members(request: dict[str, Any], needed: tuple[str, ...], further: frozenset[str]) -> None:
    for name in needed:
        if name not in request:
            raise _invalid(f"{name} is missing")
    for name, value in request.items():
        if name not in needed and name not in further:
            raise _invalid(f"the field '{name}' is not supported")
        if name == "Resources":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise _invalid("Resources is a list of text")
        elif name not in ("Entries", "MessageAttributes", "Payload") and not isinstance(value, str):
            raise _invalid(f"{name} is text")


def _is_attribute(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"DataType", "StringValue"}
        and all(isinstance(text, str) for text in value.values())
    )


def _read(text: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise _invalid(str(error)) from None
    except RecursionError:
        raise _invalid("it is nested too deeply") from None


def _invalid(reason: str) -> ValidationException:
    return ValidationException(f"Invalid RequestJson provided. Reason: {reason}.")
