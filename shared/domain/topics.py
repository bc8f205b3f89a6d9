"""Topics and subscriptions of SNS as records, and how they are named. Pure.

Source: the SNS API reference (CreateTopic, Subscribe) and the SNS developer guide.
"""

from __future__ import annotations

import enum
import hashlib
import re

import msgspec

from shared.domain.arns import PARTITION, Home

FIFO_SUFFIX = ".fifo"
MESSAGE_BYTES_MAX = 262_144
"""Of a message with its attributes, and of all messages of a batch together."""
DEDUPLICATED_S = 300
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")


def is_topic_name(name: str, *, fifo: bool) -> bool:
    return (_FIFO_NAME if fifo else _NAME).fullmatch(name) is not None


def topic_arn(home: Home, name: str) -> str:
    return f"arn:{PARTITION}:sns:{home.region}:{home.account_id}:{name}"


class Topic(msgspec.Struct, frozen=True):
    """attributes: those that were set, by AWS's names, as they were set. revision: greater after every change of the topic or
    of its subscriptions, database-wide."""

    home: Home
    name: str
    attributes: dict[str, str]
    tags: dict[str, str]
    revision: int

    @property
    def arn(self) -> str:
        return topic_arn(self.home, self.name)

    @property
    def fifo(self) -> bool:
        return self.name.endswith(FIFO_SUFFIX)

    @property
    def signature_version(self) -> str:
        return self.attributes.get("SignatureVersion", "1")

    @property
    def deduplicates_by_content(self) -> bool:
        return self.attributes.get("ContentBasedDeduplication") == "true"


def deduplication_id_of(topic: Topic, given: str | None, message: str) -> str | None:
    """By which duplicates of a message are told: of a FIFO topic alone, by its text where nothing is given."""
    if not topic.fifo:
        return None
    return given or hashlib.sha256(message.encode()).hexdigest()


class Protocol(enum.StrEnum):
    """How a subscription is delivered to."""

    SQS = "sqs"
    LAMBDA = "lambda"
    HTTP = "http"
    HTTPS = "https"
    EMAIL = "email"
    EMAIL_JSON = "email-json"
    SMS = "sms"
    APPLICATION = "application"
    FIREHOSE = "firehose"

    @property
    def by_address(self) -> bool:
        return self in (Protocol.HTTP, Protocol.HTTPS)

    @property
    def needs_confirmation(self) -> bool:
        """Whether the endpoint's owner has to agree first."""
        return self in (Protocol.HTTP, Protocol.HTTPS, Protocol.EMAIL, Protocol.EMAIL_JSON)


class SubscriptionState(enum.StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    REMOVED = "removed"
    """Over, but its owner was sent a token that brings it back."""


class Subscription(msgspec.Struct, frozen=True):
    """attributes: those that were set, by AWS's names, in AWS's form. principal_arn: who subscribed. token: what confirms it.

    authenticated: whether a signed request confirmed it. locked: whether only a signed request may remove it
    (AuthenticateOnUnsubscribe). since_ms: Unix time of its state. revision: of the topic when it was confirmed.
    """

    id: str
    home: Home
    topic_name: str
    protocol: Protocol
    endpoint: str
    principal_arn: str
    state: SubscriptionState
    attributes: dict[str, str]
    authenticated: bool = True
    locked: bool = False
    token: str | None = None
    since_ms: int = 0
    revision: int = 0

    @property
    def topic_arn(self) -> str:
        return topic_arn(self.home, self.topic_name)

    @property
    def arn(self) -> str:
        return f"{self.topic_arn}:{self.id}"

    @property
    def raw(self) -> bool:
        return self.attributes.get("RawMessageDelivery") == "true"
