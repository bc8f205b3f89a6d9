"""The forms in which a message arrives: the envelope, a function's event, and what is posted to an address. Pure.

Source: recorded from AWS, and "Amazon SNS message and JSON formats" in the SNS developer guide.
"""

from __future__ import annotations

import base64
import datetime
import functools
import json
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

from shared.domain.topics import Subscription
from shared.events.records import MessageAttribute
from shared.sns.records import Handshake, HandshakeKind, Published

USER_AGENT = "Amazon Simple Notification Service Agent"
TIMES_REMEMBERED_MAX = 1_024
PLAIN_TEXT = "text/plain; charset=UTF-8"
_TEXTS = {
    HandshakeKind.CONFIRMATION: (
        "You have chosen to subscribe to the topic {topic_arn}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message."
    ),
    HandshakeKind.REMOVAL: (
        "You have chosen to deactivate subscription {subscription_arn}.\n"
        "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
    ),
}

_json = msgspec.json.Encoder().encode

Headers = tuple[tuple[str, str], ...]


class Signature(msgspec.Struct, frozen=True):
    """text: base64. page: where the certificate is."""

    version: str
    text: str
    page: str


Sign = Callable[[Mapping[str, str]], Signature]


@functools.lru_cache(maxsize=TIMES_REMEMBERED_MAX)
def time_of(at_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(at_ms / 1_000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


def text_for(message: Published, protocol: str) -> str:
    """What a subscription by that protocol gets: of a message by protocol its own text, else the default."""
    if not message.by_protocol:
        return message.message
    texts = json.loads(message.message)
    own = texts.get(protocol)
    return own if isinstance(own, str) else str(texts["default"])


def signed_members(message: Published, text: str) -> dict[str, str]:
    """What of a notification is signed: the same for all subscriptions that get the same text."""
    subject = {} if message.subject is None else {"Subject": message.subject}
    return {
        "Type": "Notification",
        "MessageId": message.message_id,
        "TopicArn": message.topic_arn,
        **subject,
        "Message": text,
        "Timestamp": time_of(message.at_ms),
    }


def envelope(message: Published, text: str, subscription: Subscription, signature: Signature | None) -> bytes:
    """What a queue or an address gets that is not raw. signature: None of a FIFO topic."""
    members: dict[str, object] = dict(signed_members(message, text))
    if message.sequence_number is not None:
        first = {name: members.pop(name) for name in ("Type", "MessageId")}
        members = {**first, "SequenceNumber": message.sequence_number, **members}
    if signature is not None:
        members["SignatureVersion"] = signature.version
        members["Signature"] = signature.text
        members["SigningCertURL"] = signature.page
    members["UnsubscribeURL"] = unsubscribe_url(message.endpoint, subscription)
    if message.attributes:
        members["MessageAttributes"] = _attributes(message.attributes)
    return _json(members)


def function_event(message: Published, text: str, subscription: Subscription, signature: Signature) -> bytes:
    """A function's event: one record a message."""
    members = signed_members(message, text)
    sns = {
        "Type": members["Type"],
        "MessageId": members["MessageId"],
        "TopicArn": members["TopicArn"],
        "Subject": message.subject,
        "Message": members["Message"],
        "Timestamp": members["Timestamp"],
        "SignatureVersion": signature.version,
        "Signature": signature.text,
        "SigningCertUrl": signature.page,
        "UnsubscribeUrl": unsubscribe_url(message.endpoint, subscription),
        "MessageAttributes": _attributes(message.attributes),
    }
    record = {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.arn,
        "Sns": sns,
    }
    return _json({"Records": [record]})


def handshake(record: Handshake, sign: Sign) -> bytes:
    """What the owner of an address is asked or told."""
    topic_arn = record.topic_arn
    members = {
        "Type": record.kind.value,
        "MessageId": record.message_id,
        "Token": record.token,
        "TopicArn": topic_arn,
        "Message": _TEXTS[record.kind].format(topic_arn=topic_arn, subscription_arn=record.subscription_arn),
        "SubscribeURL": f"{record.endpoint}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={record.token}",
        "Timestamp": time_of(record.at_ms),
    }
    signature = sign(members)
    return _json(
        {
            **members,
            "SignatureVersion": signature.version,
            "Signature": signature.text,
            "SigningCertURL": signature.page,
        }
    )


def headers(
    kind: str, message_id: str, topic_arn: str, *, content_type: str, subscription_arn: str = "", raw: bool = False
) -> Headers:
    """Of a POST to an address. subscription_arn: "" where it is not told yet."""
    found = [
        ("x-amz-sns-message-type", kind),
        ("x-amz-sns-message-id", message_id),
        ("x-amz-sns-topic-arn", topic_arn),
    ]
    if subscription_arn:
        found.append(("x-amz-sns-subscription-arn", subscription_arn))
    if raw:
        found.append(("x-amz-sns-rawdelivery", "true"))
    return (*found, ("Content-Type", content_type), ("User-Agent", USER_AGENT), ("Accept-Encoding", "gzip,deflate"))


def unsubscribe_url(endpoint: str, subscription: Subscription) -> str:
    return f"{endpoint}/?Action=Unsubscribe&SubscriptionArn={quote(subscription.arn, safe=':-_.')}"


def _attributes(attributes: Mapping[str, MessageAttribute]) -> dict[str, dict[str, str]]:
    return {name: {"Type": one.data_type, "Value": _value(one)} for name, one in attributes.items()}


def _value(attribute: MessageAttribute) -> str:
    return attribute.text if attribute.binary is None else base64.b64encode(attribute.binary).decode()
