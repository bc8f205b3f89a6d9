"""What services tell the ledger, as it travels on the ledger topic.

One record of Kafka is a batch of many entries: one version byte, then a MessagePack array. New fields are added at the end with
a default, so that a newer process reads what an older one wrote.
"""

from __future__ import annotations

import enum

import msgspec

from shared.domain.errors import LambdadError

BATCH_VERSION = b"\x01"
ERROR_CHARS_MAX = 1_024


class Status(enum.IntEnum):
    """How an event stands. From SUCCEEDED on it has ended; an end is never taken back by what was true before it."""

    QUEUED = 0
    RUNNING = 1
    RETRYING = 2
    """It failed, and waits for its next attempt."""
    WAITING = 3
    """It could not run: throttled, no room, or its function has much to do. No attempt was used."""
    SUCCEEDED = 10
    FAILED = 11
    DISCARDED = 12
    """Not run to an end: too old, in a loop, no concurrency, or its function is gone."""
    CANCELLED = 13

    @property
    def ended(self) -> bool:
        return self >= Status.SUCCEEDED

    @property
    def label(self) -> str:
        return self.name.lower()


class StepKind(enum.IntEnum):
    """What else happened: each is a line in an event's history."""

    ATTEMPT_FAILED = 1
    PUT_BACK = 2
    DELIVERED = 10
    DEAD_LETTERED = 11
    DELIVERY_RETRIED = 12
    """A destination did not take it now; it is tried again."""
    DELIVERY_REFUSED = 13
    """A destination will never take it, or was tried for too long."""
    KEPT = 14
    """Its queue or topic is not there: it waits in the stream of that name."""
    REDRIVEN = 20
    """It was run again as another event; target is that event's id."""
    REDRIVE_OF = 21
    """It is another event once more, or a message of a dead-letter queue; target is that event's id."""
    REPLAYED = 22
    """It was run once more beside everything, to compare answers; target is the version."""
    CANCEL_ASKED = 23

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", "-")


class EventEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one event stood at one moment. Times are Unix milliseconds, 0 for none.

    function: index into the batch's functions. accepted_at_ms: the same in every entry of an event. partition, offset: where
    on the event topic it is. attempts: how often the function ran for it. started_at_ms: of the last attempt. version: that
    ran last. reason: the condition of its end, or why it waits. next_at_ms: when it is to be tried again. error: what it
    failed with, at most ERROR_CHARS_MAX.
    """

    event_id: str
    function: int
    qualifier: str | None
    status: int
    accepted_at_ms: int
    at_ms: int
    partition: int
    offset: int
    attempts: int = 0
    started_at_ms: int = 0
    version: str = ""
    reason: str = ""
    next_at_ms: int = 0
    error: str = ""


class StepEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that happened to an event, or to a delivery that is nobody's event (of a topic, a bus, a schedule).

    event_id: of the event, or of the delivery. at_ms: Unix milliseconds. target: where it went, as configured. detail: an
    error, or what there is to say, at most ERROR_CHARS_MAX. source: on whose behalf, an ARN; "" for the event's function.
    """

    event_id: str
    at_ms: int
    kind: int
    target: str = ""
    detail: str = ""
    source: str = ""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """functions: ARNs without qualifier, that entries refer to by their place."""

    functions: list[str]
    events: list[EventEntry]
    steps: list[StepEntry] = []


class LedgerRecordError(LambdadError):
    """The bytes are not a batch that this version understands."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Batch).decode


def encode_batch(batch: Batch) -> bytes:
    return BATCH_VERSION + _encode(batch)


def decode_batch(value: bytes) -> Batch:
    """Raises LedgerRecordError."""
    if value[:1] != BATCH_VERSION:
        raise LedgerRecordError(f"batch version {value[:1].hex() or 'missing'} is not known")
    try:
        return _decode(memoryview(value)[1:])
    except msgspec.DecodeError as error:
        raise LedgerRecordError(f"not a batch of the ledger: {error}") from error
