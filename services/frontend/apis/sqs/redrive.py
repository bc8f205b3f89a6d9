"""Redrive policies: to which dead-letter queue after how many receives, and which queues a dead-letter queue is one of."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from services.frontend.apis.sqs.errors import InvalidAttributeValue, bad_value
from services.frontend.apis.sqs.policy import decode
from services.frontend.apis.sqs.urls import QueueArn, parse_arn
from shared.domain.errors import InvalidParameterValueException

RECEIVES_MAX = 1_000
SOURCES_MAX = 10
_PERMISSIONS = ("allowAll", "denyAll", "byQueue")
_CANNOT_ALLOW = "Amazon SQS can't create the redrive allow policy"
_Json = dict[str, Any]


class RedrivePolicy(msgspec.Struct, frozen=True):
    """After so many receives a message goes to the target, an ARN."""

    target: str
    receives_max: int


def read_policy(text: str | None) -> RedrivePolicy | None:
    """Of an attribute as it is kept."""
    if not text:
        return None
    found = decode(text)
    return RedrivePolicy(found["deadLetterTargetArn"], int(found["maxReceiveCount"]))


def checked_policy(text: str) -> str:
    """RedrivePolicy as it is kept, empty for none; nobody has looked for the target. Raises InvalidParameterValueException."""
    if not text:
        return ""
    found = _map_of(text)
    if found is None:
        raise bad_value(text, "RedrivePolicy", "Redrive policy is not a valid JSON map.")
    for name in ("maxReceiveCount", "deadLetterTargetArn"):
        if name not in found:
            raise bad_value(text, "RedrivePolicy", f"Redrive policy does not contain mandatory attribute: {name}.")
    if len(found) > 2:
        raise bad_value(
            text, "RedrivePolicy", "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount]."
        )
    receives = _count(found["maxReceiveCount"])
    if receives is None:
        raise bad_value(
            text,
            "RedrivePolicy",
            f"Invalid value for maxReceiveCount: {found['maxReceiveCount']}, valid values are from 1 to {RECEIVES_MAX} "
            "both inclusive.",
        )
    target = found["deadLetterTargetArn"]
    if not isinstance(target, str) or parse_arn(target) is None:
        raise bad_value(text, "RedrivePolicy", "Dead-letter target ARN should be fully qualified ARN.")
    return json.dumps({**found, "maxReceiveCount": receives}, separators=(",", ":"))


def checked_permission(text: str) -> str:
    """RedriveAllowPolicy as it is kept, empty for none. Raises InvalidParameterValueException, InvalidAttributeValue."""
    if not text:
        return ""
    found = _map_of(text)
    unknown = found is None or not found.keys() <= {"redrivePermission", "sourceQueueArns"}
    if found is None or unknown or found.get("redrivePermission") not in _PERMISSIONS:
        raise InvalidAttributeValue(
            f"Invalid value for the parameter RedriveAllowPolicy. Reason: {_CANNOT_ALLOW}, as it’s in an unsupported format."
        )
    sources = found.get("sourceQueueArns")
    if sources is not None and not (isinstance(sources, list) and all(isinstance(arn, str) for arn in sources)):
        raise InvalidAttributeValue(
            f"Invalid value for the parameter RedriveAllowPolicy. Reason: {_CANNOT_ALLOW}, as it’s in an unsupported format."
        )
    by_queue = found["redrivePermission"] == "byQueue"
    if sources and not by_queue:
        raise _refused(text, "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.")
    if by_queue and not sources:
        raise _refused(
            text,
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.",
        )
    if sources and len(sources) > SOURCES_MAX:
        raise _refused(text, f"The maximum number of source queue ARNs you can specify is {SOURCES_MAX}.")
    return json.dumps(found, separators=(",", ":"))


def check_target(text: str, source: QueueArn, target: QueueArn) -> None:
    """What can be told without looking for the target. Raises InvalidParameterValueException."""
    if target.home.account_id != source.home.account_id:
        raise bad_value(text, "RedrivePolicy", "Dead-letter target owner should be same as the source.")
    if target.home.region != source.home.region:
        raise bad_value(text, "RedrivePolicy", "Dead-letter queue must be in the same region as the source.")
    if target.is_fifo != source.is_fifo:
        raise bad_value(text, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source..")


def permits(permission: str | None, source_arn: str) -> bool:
    """Whether a dead-letter queue's RedriveAllowPolicy lets a queue use it."""
    if not permission:
        return True
    found = decode(permission)
    if found["redrivePermission"] == "byQueue":
        return source_arn in found.get("sourceQueueArns", ())
    return bool(found["redrivePermission"] == "allowAll")


def _map_of(text: str) -> _Json | None:
    found = decode(text)
    return found if isinstance(found, dict) else None


def _count(value: object) -> int | None:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 6:
        return None
    return int(text) if 1 <= int(text) <= RECEIVES_MAX else None


def _refused(text: str, reason: str) -> InvalidParameterValueException:
    return bad_value(text, "RedriveAllowPolicy", f"{_CANNOT_ALLOW}. {reason}")
