"""What a subscription may be: its endpoint by protocol, and its attributes in the form in which they are kept.

Source: Subscribe and SetSubscriptionAttributes in the SNS API reference; texts were recorded where they were seen.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

from services.frontend.apis.sns.errors import InvalidParameterException, invalid
from shared.domain.delivery_policies import DeliveryPolicyError, read_subscription_policy
from shared.domain.filter_policies import FilterPolicy, FilterPolicyError, Scope
from shared.domain.topics import FIFO_SUFFIX, Protocol, Topic

ENDPOINT_CHARACTERS_MAX = 2_048
ATTRIBUTES = frozenset(
    {
        "DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "ReplayPolicy",
        "SubscriptionRoleArn",
    }
)  # fmt: skip
DEFAULTS = {"RawMessageDelivery": "false", "FilterPolicyScope": Scope.ATTRIBUTES.value}
_REMOVABLE = frozenset({"DeliveryPolicy", "FilterPolicy", "RedrivePolicy"})
_RAW = frozenset({Protocol.SQS, Protocol.HTTP, Protocol.HTTPS, Protocol.FIREHOSE})
_ARN = r"arn:aws[a-z-]*:{service}:[a-z]{{2}}(?:-[a-z]+)+-\d:\d{{12}}:{resource}"
_QUEUE = re.compile(_ARN.format(service="sqs", resource=r"[A-Za-z0-9_-]{1,80}(?:\.fifo)?"))
_FUNCTION = re.compile(_ARN.format(service="lambda", resource=r"function:[A-Za-z0-9_-]{1,140}(?::[$A-Za-z0-9_-]{1,128})?"))
_STREAM = re.compile(_ARN.format(service="firehose", resource=r"deliverystream/[A-Za-z0-9_.-]{1,64}"))
_DEVICE = re.compile(_ARN.format(service="sns", resource=r"endpoint/[A-Z_]{1,32}/[A-Za-z0-9_.-]{1,256}/[0-9a-f-]{36}"))
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S{1,512}")
_PHONE = re.compile(r"\+?[0-9](?:[/.-]?[0-9]){0,19}")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")
_FORMS = {
    Protocol.SQS: (_QUEUE, "SQS endpoint ARN"),
    Protocol.LAMBDA: (_FUNCTION, "Lambda endpoint ARN"),
    Protocol.FIREHOSE: (_STREAM, "Firehose endpoint ARN"),
    Protocol.APPLICATION: (_DEVICE, "Application endpoint arn invalid"),
    Protocol.EMAIL: (_EMAIL, "Email address"),
    Protocol.EMAIL_JSON: (_EMAIL, "Email address"),
}


def protocol_of(text: str) -> Protocol:
    try:
        return Protocol(text)
    except ValueError:
        raise InvalidParameterException(
            f"Invalid parameter: Amazon SNS does not support this protocol string: {text}"
        ) from None


def check_endpoint(topic: Topic, protocol: Protocol, endpoint: str) -> None:
    """Raises InvalidParameterException. That there is such a queue, function or address is not asked."""
    if protocol is Protocol.SMS:
        if _PHONE.fullmatch(endpoint) is None:
            raise InvalidParameterException(f"Invalid SMS endpoint: {endpoint}")
    elif protocol.by_address:
        _check_address(protocol, endpoint)
    else:
        form, called = _FORMS[protocol]
        if form.fullmatch(endpoint) is None:
            raise InvalidParameterException(f"Invalid parameter: {called}")
    if protocol is Protocol.SQS and endpoint.endswith(FIFO_SUFFIX) and not topic.fifo:
        raise _doubled("FIFO SQS Queues can not be subscribed to standard SNS topics")
    if topic.fifo and protocol is not Protocol.SQS:
        raise _doubled("Only SQS queues can be subscribed to FIFO SNS topics")


def _doubled(reason: str) -> InvalidParameterException:
    """With the prefix twice, as AWS was seen to answer."""
    return InvalidParameterException(f"Invalid parameter: Invalid parameter: Endpoint Reason: {reason}")


def _check_address(protocol: Protocol, endpoint: str) -> None:
    if not endpoint.lower().startswith(f"{protocol.value}://"):
        raise InvalidParameterException("Invalid parameter: Endpoint must match the specified protocol")
    try:
        parts = urlsplit(endpoint)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or len(endpoint) > ENDPOINT_CHARACTERS_MAX or not (endpoint.isascii() and endpoint.isprintable()):
        raise InvalidParameterException("Invalid parameter: Unreachable endpoint: not an address")
    if " " in endpoint:
        raise InvalidParameterException("Invalid parameter: Unreachable endpoint: not an address")


def of_subscribe(topic: Topic, protocol: Protocol, endpoint: str, given: dict[str, str]) -> dict[str, str]:
    """The attributes that a subscription is made with, as they are kept. Raises InvalidParameterException."""
    kept: dict[str, str] = {}
    try:
        # The scope says how the policy is read, so it comes first.
        for name in sorted(given, key=lambda one: one != "FilterPolicyScope"):
            if name not in ATTRIBUTES:
                raise InvalidParameterException(f"Invalid parameter: Unknown attribute {name}")
            kept = changed(topic, protocol, endpoint, kept, name, given[name])
    except InvalidParameterException as error:
        raise invalid("Attributes", error.message.removeprefix("Invalid parameter: ")) from None
    if protocol is Protocol.FIREHOSE and "SubscriptionRoleArn" not in kept:
        raise invalid("Attributes", "SubscriptionRoleArn: no value for required parameter")
    return kept


def changed(
    topic: Topic, protocol: Protocol, endpoint: str, attributes: dict[str, str], name: str, value: str
) -> dict[str, str]:
    """A subscription's attributes with one of them set; an empty value takes some of them away.

    Raises InvalidParameterException.
    """
    if name not in ATTRIBUTES:
        raise InvalidParameterException("Invalid parameter: AttributeName")
    left = {key: kept for key, kept in attributes.items() if key != name}
    if name in _REMOVABLE and value in ("", "{}"):
        return left
    match name:
        case "RawMessageDelivery":
            return {**left, name: _raw(protocol, value)}
        case "FilterPolicyScope":
            if value not in tuple(Scope):
                raise InvalidParameterException(
                    f"Invalid parameter: FilterPolicyScope: Invalid value [{value}]. "
                    "Please use either MessageBody or MessageAttributes"
                )
            if "FilterPolicy" in left:
                _filter_policy(left["FilterPolicy"], Scope(value))
            return {**left, name: value}
        case "FilterPolicy":
            scope = Scope(left.get("FilterPolicyScope", DEFAULTS["FilterPolicyScope"]))
            return {**left, name: _filter_policy(value, scope)}
        case "RedrivePolicy":
            return {**left, name: _redrive_policy(topic, protocol, endpoint, value)}
        case "DeliveryPolicy":
            return {**left, name: _delivery_policy(protocol, value)}
        case "SubscriptionRoleArn":
            if _ROLE.fullmatch(value) is None:
                raise InvalidParameterException(f"Invalid parameter: SubscriptionRoleArn: Invalid value [{value}].")
            return {**left, name: value}
    raise InvalidParameterException("Invalid parameter: ReplayPolicy: messages are not archived here")


def _raw(protocol: Protocol, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise InvalidParameterException(
            f"Invalid parameter: RawMessageDelivery: Invalid value [{value}]. Must be true or false."
        )
    if value.lower() == "true" and protocol not in _RAW:
        raise InvalidParameterException(
            f"Invalid parameter: Delivery protocol [{protocol.value}] does not support raw message delivery."
        )
    return value.lower()


def _filter_policy(text: str, scope: Scope) -> str:
    try:
        return FilterPolicy(text, scope).text
    except FilterPolicyError as error:
        raise InvalidParameterException(f"Invalid parameter: {error}") from None


def _redrive_policy(topic: Topic, protocol: Protocol, endpoint: str, text: str) -> str:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidParameterException("Invalid parameter: RedrivePolicy: failed to parse JSON.") from None
    target = document.get("deadLetterTargetArn") if isinstance(document, dict) else None
    if not isinstance(target, str) or _QUEUE.fullmatch(target) is None:
        raise InvalidParameterException("Invalid parameter: RedrivePolicy: deadLetterTargetArn is an invalid arn")
    fifo = topic.fifo and protocol is Protocol.SQS and endpoint.endswith(FIFO_SUFFIX)
    if fifo and not target.endswith(FIFO_SUFFIX):
        raise InvalidParameterException(
            "Invalid parameter: RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
        )
    if not topic.fifo and target.endswith(FIFO_SUFFIX):
        raise InvalidParameterException(
            "Invalid parameter: RedrivePolicy: must use a standard queue as DLQ for a standard topic"
        )
    return json.dumps({"deadLetterTargetArn": target}, separators=(",", ":"))


def _delivery_policy(protocol: Protocol, text: str) -> str:
    if not protocol.by_address:
        raise InvalidParameterException(
            f"Invalid parameter: DeliveryPolicy: Delivery protocol [{protocol.value}] does not support a delivery policy"
        )
    try:
        return json.dumps(read_subscription_policy(text), separators=(",", ":"))
    except DeliveryPolicyError as error:
        raise InvalidParameterException(f"Invalid parameter: DeliveryPolicy: {error}") from None
