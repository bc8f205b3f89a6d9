"""What schedules can have for targets: templated ones by their ARN, and universal ones, `arn:aws:scheduler:::aws-sdk:...`.

All that AWS takes is taken. Of what nobody here delivers to, each firing becomes a dead letter or is told as refused.
Source: "Templated targets", "Universal targets" in the EventBridge Scheduler user guide.
"""

from __future__ import annotations

import base64
import enum
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.domain.destinations import EVENT_BUS, FUNCTION
from shared.domain.errors import ValidationException
from shared.domain.rule_targets import MALFORMED, form_of

INPUT_BYTES_MAX = 256 * 1024
ENTRIES_MAX = 10
"""Of one PutEvents."""
_UNIVERSAL = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-zA-Z0-9-]+):([a-zA-Z0-9]+)")
_QUEUE = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,80}(\.fifo)?")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,256}(\.fifo)?")


class Kind(enum.Enum):
    """Of a target."""

    FUNCTION = "Lambda's functions"
    QUEUE = "SQS's queues"
    TOPIC = "SNS's topics"
    BUS = "EventBridge's buses"
    INVOKE = "lambda:invoke"
    SEND_MESSAGE = "sqs:sendMessage"
    PUBLISH = "sns:publish"
    PUT_EVENTS = "eventbridge:putEvents"
    ELSEWHERE = "services that do not run here"
    CALL_ELSEWHERE = "their operations"


TEMPLATED = ((Kind.FUNCTION, FUNCTION.form), (Kind.QUEUE, _QUEUE), (Kind.TOPIC, _TOPIC), (Kind.BUS, EVENT_BUS.form))
ELSEWHERE = frozenset(("codebuild", "codepipeline", "ecs", "firehose", "inspector", "kinesis", "sagemaker", "states"))
JSON_INPUT: Mapping[Kind, Any] = {Kind.FUNCTION: Any, Kind.BUS: dict[str, Any], Kind.CALL_ELSEWHERE: dict[str, Any]}
"""Of which kinds the Input has to be JSON, and what it has to be."""
NEEDS = {"ecs": "EcsParameters", "kinesis": "KinesisParameters"}
UNIVERSAL = {kind.value: kind for kind in (Kind.INVOKE, Kind.SEND_MESSAGE, Kind.PUBLISH, Kind.PUT_EVENTS)} | {
    "events:putEvents": Kind.PUT_EVENTS
}
READING = ("get", "list", "describe")
"""What operations begin with that only read: they are no targets."""
DELAY_S_MAX = 900
MEMBERS = {
    Kind.INVOKE: (("FunctionName",), frozenset({"Payload", "InvocationType", "Qualifier", "LogType"})),
    Kind.SEND_MESSAGE: (
        ("QueueUrl", "MessageBody"),
        frozenset({"MessageAttributes", "MessageGroupId", "MessageDeduplicationId", "DelaySeconds"}),
    ),
    Kind.PUBLISH: (
        ("TopicArn", "Message"),
        frozenset({"Subject", "MessageAttributes", "MessageGroupId", "MessageDeduplicationId"}),
    ),
    Kind.PUT_EVENTS: (("Entries",), frozenset()),
}
"""Of the Input of a universal target: what it must have, and what it may have besides. All of them are text, but for Entries,
MessageAttributes, Payload and DelaySeconds."""
ENTRY_MEMBERS = (("Source", "DetailType", "Detail"), frozenset({"EventBusName", "Resources"}))


def kind_of(arn: str) -> Kind:
    """Raises ValidationException of what is no target."""
    if found := _UNIVERSAL.fullmatch(arn):
        if found[2].startswith(READING):
            raise ValidationException(f"The action {found[2]} of {found[1]} only reads: it cannot be the target of a schedule.")
        return UNIVERSAL.get(f"{found[1]}:{found[2]}", Kind.CALL_ELSEWHERE)
    for kind, form in TEMPLATED:
        if form.fullmatch(arn):
            return kind
    elsewhere = form_of(arn)
    if elsewhere is None or elsewhere.service not in ELSEWHERE:
        raise ValidationException(MALFORMED)
    return Kind.ELSEWHERE


def check(target: dict[str, Any]) -> None:
    """Of what the service model lets through. Raises ValidationException."""
    kind = kind_of(target["Arn"])
    sent: str | None = target.get("Input")
    if sent is not None and len(sent.encode()) > INPUT_BYTES_MAX:
        raise ValidationException(f"Input must be smaller than {INPUT_BYTES_MAX} bytes.")
    if kind is Kind.BUS and target.get("EventBridgeParameters") is None:
        raise ValidationException("EventBridgeParameters is required for an event bus.")
    needed = NEEDS.get(target["Arn"].split(":")[2])
    if kind is Kind.ELSEWHERE and needed is not None and target.get(needed) is None:
        raise ValidationException(f"{needed} is required for {target['Arn']}.")
    if sent is not None and kind in JSON_INPUT:
        _read(sent, JSON_INPUT[kind])
    if kind in MEMBERS:
        universal_input(kind, sent)


def universal_input(kind: Kind, sent: str | None) -> dict[str, Any]:
    """The request that a universal target's Input is. Raises ValidationException."""
    request: dict[str, Any] = _read(sent or "", dict[str, Any])
    _check_members(request, *MEMBERS[kind])
    attributes = request.get("MessageAttributes", {})
    if not isinstance(attributes, dict) or not all(map(_is_attribute, attributes.values())):
        raise _invalid("MessageAttributes is a map of names to DataType and StringValue or BinaryValue")
    if not 0 <= request.get("DelaySeconds", 0) <= DELAY_S_MAX:
        raise _invalid(f"DelaySeconds is from 0 to {DELAY_S_MAX}")
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
        elif name == "DelaySeconds":
            if not isinstance(value, int) or isinstance(value, bool):
                raise _invalid("DelaySeconds is a number")
        elif name not in ("Entries", "MessageAttributes", "Payload") and not isinstance(value, str):
            raise _invalid(f"{name} is text")


def _is_attribute(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) in ({"DataType", "StringValue"}, {"DataType", "BinaryValue"})
        and all(isinstance(text, str) for text in value.values())
        and _is_base64(value.get("BinaryValue", ""))
    )


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _read(text: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise _invalid(str(error)) from None
    except RecursionError:
        raise _invalid("it is nested too deeply") from None


def _invalid(reason: str) -> ValidationException:
    return ValidationException(f"Invalid RequestJson provided. Reason: {reason}.")
