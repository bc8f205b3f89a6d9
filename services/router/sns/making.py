"""What a published message becomes for one subscription. Pure but for the signature, which whoever calls has made."""

from __future__ import annotations

import json

import msgspec

from services.router.sns import documents
from services.router.sns.documents import Signature
from services.router.sns.subscriptions import Ready
from shared.domain.delivery_policies import Effective
from shared.domain.filter_policies import Scope
from shared.domain.topics import FIFO_SUFFIX, Protocol, Subscription
from shared.events.records import (
    Behalf,
    DeadLetter,
    Delivery,
    HttpParameters,
    MessageAttribute,
    QueueParameters,
    RetryPolicy,
)
from shared.sns.records import Handshake, Published

OF_AWS = RetryPolicy(age_s_max=23 * 24 * 3_600)
"""Queues and functions are tried for as long as AWS tries what it runs itself."""
HANDSHAKE_PAUSES_S = (20.0, 20.0, 20.0)
ADDRESS_AGE_S_MAX = 24 * 3_600
_PLAIN = frozenset({Protocol.SQS, Protocol.HTTP, Protocol.HTTPS, Protocol.FIREHOSE})


def wants(ready: Ready, message: Published) -> bool:
    """Whether a subscription gets a message: it was there when that was published, and its policy lets it through."""
    subscription = ready.subscription
    if subscription.revision > message.revision and subscription.since_ms > message.at_ms:
        return False
    policy = ready.filter
    if policy is None:
        return True
    if policy.scope is Scope.BODY:
        return policy.matches_body(documents.text_for(message, subscription.protocol.value))
    return policy.matches_attributes({name: (one.data_type, one.text) for name, one in message.attributes.items()})


def needs_signature(subscription: Subscription, message: Published) -> bool:
    """Whether a document goes to it, or to its dead-letter queue, that is signed."""
    if message.sequence_number is not None:
        return False
    return not (subscription.raw and subscription.protocol in _PLAIN)


def delivery_of(ready: Ready, message: Published, signature: Signature | None) -> Delivery:
    """signature: of the text that this subscription gets, where `needs_signature`."""
    subscription = ready.subscription
    text = documents.text_for(message, subscription.protocol.value)
    raw = subscription.raw and subscription.protocol in _PLAIN
    # What queues and addresses get, and dead-letter queues whatever the protocol is.
    plain = text.encode() if raw else documents.envelope(message, text, subscription, signature)
    attributes = message.attributes if raw else {}
    made = Delivery(
        delivery_id=f"{message.message_id}:{subscription.id}",
        behalf=Behalf.SNS,
        source_arn=subscription.arn,
        origin_id=message.message_id,
        target=subscription.endpoint,
        payload=plain,
        made_at_ms=message.at_ms,
        retry=OF_AWS,
        dead_letter=_letter(subscription, message, plain, attributes),
        trace=message.trace,
    )
    match subscription.protocol:
        case Protocol.SQS:
            parameters = _queue_parameters(subscription.endpoint, message)
            return msgspec.structs.replace(made, attributes=attributes, parameters=parameters)
        case Protocol.LAMBDA:
            assert signature is not None
            return msgspec.structs.replace(made, payload=documents.function_event(message, text, subscription, signature))
        case Protocol.HTTP | Protocol.HTTPS:
            assert ready.delivery is not None
            return _posted(made, ready.delivery, message, raw=raw)
    # There is nobody here who delivers these: the courier says so, and the dead-letter queue gets it where there is one.
    return msgspec.structs.replace(made, target=_nowhere(subscription.protocol, subscription.endpoint))


def _posted(made: Delivery, effective: Effective, message: Published, *, raw: bool) -> Delivery:
    headers = documents.headers(
        "Notification",
        message.message_id,
        message.topic_arn,
        content_type=effective.content_type,
        subscription_arn=made.source_arn,
        raw=raw,
    )
    return msgspec.structs.replace(made, parameters=HttpParameters(headers), retry=_address_retry(effective.pauses_s))


def _nowhere(protocol: Protocol, endpoint: str) -> str:
    """A target of a kind of its own, of which there is no deliverer."""
    return f"aws:sns:{protocol.value}:{endpoint}"


def _queue_parameters(queue_arn: str, message: Published) -> QueueParameters | None:
    if queue_arn.endswith(FIFO_SUFFIX):
        return QueueParameters(message.group_id, message.deduplication_id)
    # A standard queue takes the group of a message of a standard topic, for fairness.
    fair = message.group_id is not None and message.sequence_number is None
    return QueueParameters(message.group_id) if fair else None


def _letter(
    subscription: Subscription, message: Published, payload: bytes, attributes: dict[str, MessageAttribute]
) -> DeadLetter | None:
    policy = subscription.attributes.get("RedrivePolicy")
    if policy is None:
        return None
    arn: str = json.loads(policy)["deadLetterTargetArn"]
    return DeadLetter(arn, payload, attributes, _queue_parameters(arn, message))


def _address_retry(pauses_s: tuple[float, ...]) -> RetryPolicy:
    return RetryPolicy(age_s_max=ADDRESS_AGE_S_MAX, retries_max=len(pauses_s), pauses_s=pauses_s)


def to_nobody(message: Published) -> Delivery:
    """A message for one phone or mobile endpoint."""
    protocol = Protocol.APPLICATION if message.topic_arn.startswith("arn:") else Protocol.SMS
    return Delivery(
        delivery_id=message.message_id,
        behalf=Behalf.SNS,
        source_arn=message.topic_arn,
        origin_id=message.message_id,
        target=_nowhere(protocol, message.topic_arn),
        payload=message.message.encode(),
        made_at_ms=message.at_ms,
    )


def handshake_of(record: Handshake, sign: documents.Sign) -> Delivery:
    known = record.subscription_arn if record.kind.value == "UnsubscribeConfirmation" else ""
    return Delivery(
        delivery_id=record.message_id,
        behalf=Behalf.SNS,
        source_arn=record.subscription_arn,
        origin_id=record.message_id,
        target=record.address,
        payload=documents.handshake(record, sign),
        made_at_ms=record.at_ms,
        parameters=HttpParameters(
            documents.headers(
                record.kind.value,
                record.message_id,
                record.topic_arn,
                content_type=documents.PLAIN_TEXT,
                subscription_arn=known,
            )
        ),
        retry=_address_retry(HANDSHAKE_PAUSES_S),
    )
