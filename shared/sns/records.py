"""What travels on the topic of SNS: messages that were published, and handshakes with the owners of addresses.

On the wire as all records are (shared/events/records.py): one version byte, then a MessagePack array.
"""

from __future__ import annotations

import enum

import msgspec

from shared.events.records import RECORD_VERSION, MessageAttribute, RecordError


class Published(msgspec.Struct, frozen=True, array_like=True, tag="message"):
    """A message that was accepted.

    topic_arn: or, of a message for one phone or mobile endpoint, what it is for. at_ms: Unix time of the publishing.
    revision: of the topic, as the publisher saw it. by_protocol: whether the message is JSON with a text for each protocol.
    group_id: also of a standard topic. deduplication_id, sequence_number: of a FIFO topic.
    endpoint: where the publisher reached the cluster, for the links in documents. trace: an X-Ray header.
    """

    topic_arn: str
    message_id: str
    message: str
    at_ms: int
    revision: int
    subject: str | None = None
    by_protocol: bool = False
    attributes: dict[str, MessageAttribute] = {}
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    endpoint: str = ""
    trace: str | None = None


class HandshakeKind(enum.StrEnum):
    """As documents and headers call it."""

    CONFIRMATION = "SubscriptionConfirmation"
    REMOVAL = "UnsubscribeConfirmation"


class Handshake(msgspec.Struct, frozen=True, array_like=True, tag="handshake"):
    """What the owner of an address is to be asked or told. at_ms: Unix time. endpoint: as of a message.
    signature_version: of the topic."""

    kind: HandshakeKind
    message_id: str
    subscription_arn: str
    address: str
    token: str
    at_ms: int
    endpoint: str
    signature_version: str = "1"

    @property
    def topic_arn(self) -> str:
        return self.subscription_arn.rpartition(":")[0]


Record = Published | Handshake
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    return RECORD_VERSION + _encoder.encode(record)


def decode(data: bytes) -> Record:
    """Raises RecordError."""
    if data[:1] != RECORD_VERSION:
        raise RecordError(f"record version {data[:1].hex() or 'missing'} is not known")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise RecordError(f"not a record of SNS: {error}") from error
