"""The attributes of queues: names, ranges, defaults, what may be set together, and how they are shown.

A queue's own are kept as texts, without those that have their defaults: `Attributes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from services.frontend.apis.sqs import policy, redrive
from services.frontend.apis.sqs.errors import InvalidAttributeName, InvalidAttributeValue, UnknownAttribute
from shared.domain.queue_attributes import BOOLEANS, CHOICES, DEFAULTS, FIFO_DEFAULTS, RANGES, Attributes

FIFO_SUFFIX = ".fifo"
COUNTED = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
_GIVEN = (*COUNTED, "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn")
"""What a queue has and nobody sets."""
_FIFO_ALONE = ("DeduplicationScope", "FifoThroughputLimit")
_KEY, _KEY_PERIOD, _MANAGED = "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"
_DOCUMENTS = ("Policy", "RedrivePolicy", "RedriveAllowPolicy")
SETTABLE = frozenset((*RANGES, *BOOLEANS, *CHOICES, *_DOCUMENTS, _KEY))
KNOWN = frozenset((*SETTABLE, *_GIVEN, "All"))
_NUMBER = re.compile(r"[0-9]{1,10}")
_KEY_CHARACTERS_MAX = 2_048


def check_names(names: Iterable[str]) -> None:
    """Of attributes that are asked for. Raises InvalidAttributeName."""
    for name in names:
        if name not in KNOWN:
            raise UnknownAttribute(name)


def changed(now: Attributes, sent: Mapping[str, str], *, fifo: bool) -> Attributes:
    """What a queue has after a change. Raises InvalidAttributeName, InvalidAttributeValue, InvalidParameterValueException,
    OverLimit."""
    for name in sent:
        _check_settable(name, fifo=fifo)
    values = {name: _value(name, text) for name, text in sent.items()}
    if values.get(_KEY) and values.get(_MANAGED) == "true":
        raise InvalidAttributeName(
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
        )
    found = {**now, **values}
    _choose_encryption(found, values)
    _check_throughput(found)
    defaults = FIFO_DEFAULTS if fifo else DEFAULTS
    return {name: text for name, text in found.items() if text != "" and text != defaults.get(name)}


def shown(attributes: Attributes, *, fifo: bool) -> dict[str, str]:
    """All that a queue's owner may set and that has a value."""
    found = {**(FIFO_DEFAULTS if fifo else DEFAULTS), **attributes}
    if _KEY not in found:
        del found[_KEY_PERIOD]
    return found


def difference(now: Attributes, sent: Mapping[str, str], *, fifo: bool) -> str | None:
    """The first attribute that would be another than it is."""
    after = changed(now, sent, fifo=fifo)
    return next((name for name in sent if not _same(name, now.get(name), after.get(name))), None)


def _same(name: str, one: str | None, other: str | None) -> bool:
    if one is None or other is None or name not in _DOCUMENTS:
        return one == other
    return bool(policy.decode(one) == policy.decode(other))


def _check_settable(name: str, *, fifo: bool) -> None:
    if name not in SETTABLE or (not fifo and name in ("FifoQueue", "ContentBasedDeduplication")):
        raise UnknownAttribute(name)
    if not fifo and name in _FIFO_ALONE:
        raise InvalidAttributeName(f"You can specify the {name} only when FifoQueue is set to true.")


def _value(name: str, text: str) -> str:
    """As it is kept; empty for none."""
    if name in RANGES:
        least, most = RANGES[name]
        number = int(text) if _NUMBER.fullmatch(text) is not None else -1
        if not least <= number <= most:
            raise InvalidAttributeValue.of(name)
        return str(number)
    if name in BOOLEANS:
        text = text.lower()
        if text not in ("true", "false"):
            raise InvalidAttributeValue.of(name)
        if name == "FifoQueue" and text != "true":
            raise InvalidAttributeValue(
                f"Invalid value for the parameter {name}. Reason: Modifying queue type is not supported."
            )
        return text
    if name in CHOICES:
        if text not in CHOICES[name]:
            raise InvalidAttributeValue.of(name)
        return text
    if name == "Policy":
        return policy.checked(text)
    if name == "RedrivePolicy":
        return redrive.checked_policy(text)
    if name == "RedriveAllowPolicy":
        return redrive.checked_permission(text)
    if len(text) > _KEY_CHARACTERS_MAX:
        raise InvalidAttributeValue.of(name)
    return text


def _choose_encryption(found: dict[str, str], sent: Mapping[str, str]) -> None:
    """One kind at a time: a key switches SQS's own off, and SQS's own, switched on, takes the key away."""
    if sent.get(_KEY):
        found[_MANAGED] = "false"
    elif sent.get(_MANAGED) == "true" and _KEY not in sent:
        found.pop(_KEY, None)
    if not found.get(_KEY):
        found.pop(_KEY, None)
        found.pop(_KEY_PERIOD, None)


def _check_throughput(found: Mapping[str, str]) -> None:
    scope = found.get("DeduplicationScope", FIFO_DEFAULTS["DeduplicationScope"])
    if found.get("FifoThroughputLimit") == "perMessageGroupId" and scope != "messageGroup":
        raise InvalidAttributeValue(
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."
        )
