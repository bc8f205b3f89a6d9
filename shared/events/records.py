"""What travels on the event topics: an asynchronous event waiting to be run, and the outcome of one.

On the wire: one version byte, then a MessagePack array. New fields are added at the end with a default, so that a newer
process reads what an older one wrote.
"""

from __future__ import annotations

import enum

import msgspec

from shared.domain.arns import Home, function_arn
from shared.domain.errors import LambdadError

RECORD_VERSION = b"\x01"
RECORD_BYTES_MAX = 12 * 1024 * 1024
"""Largest record on an event topic: a 1 MiB event, a 6 MiB response and room for what goes around them."""


class RecordError(LambdadError):
    """The bytes are not a record that this version understands."""


class LastAttempt(msgspec.Struct, frozen=True, array_like=True):
    """What the latest attempt that ran answered; what a destination record shows when no further attempt is made."""

    executed_version: str
    function_error: str | None
    payload: bytes


class AsyncEvent(msgspec.Struct, frozen=True, array_like=True):
    """One asynchronous invocation from its acceptance to its end.

    event_id: the request id, the same for every attempt. accepted_at_ms: Unix time; the event's age counts from it.
    attempts: how often the function ran for it and answered. backoffs: how often it was put back because it could not
    run (throttles and platform failures; not attempts). region: the function's, empty in what an earlier version wrote.
    """

    event_id: str
    function_name: str
    qualifier: str | None
    payload: bytes
    accepted_at_ms: int
    attempts: int = 0
    trace: str | None = None
    backoffs: int = 0
    last: LastAttempt | None = None
    region: str = ""

    def function_arn(self, home: Home) -> str:
        """home: of an event that names no region."""
        return function_arn(Home(home.account_id, self.region) if self.region else home, self.function_name)


class Condition(enum.StrEnum):
    """AWS's words for why an invocation ended (requestContext.condition of its record); of a loop it gives no word."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"
    RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
    RECORD_AGE_EXCEEDED = "RecordAgeExceeded"
    RECURSIVE_INVOCATION = "RecursiveInvocation"
    PAYLOAD_TOO_LARGE = "MaximumPayloadSizeExceeded"


class KafkaPartitionInfo(msgspec.Struct, frozen=True, array_like=True):
    """The records of one partition in a batch that was given up. Timestamps are Unix milliseconds."""

    first_offset: int
    last_offset: int
    first_timestamp_ms: int
    last_timestamp_ms: int


class KafkaBatchInfo(msgspec.Struct, frozen=True, array_like=True):
    """Which records of a Kafka event source mapping were given up. partitions: by "topic-partition"."""

    batch_size: int
    event_source_arn: str | None
    bootstrap_servers: str
    payload_bytes: int
    partitions: dict[str, KafkaPartitionInfo]
    mapping_uuid: str = ""


BatchInfo = KafkaBatchInfo
"""Of any kind of source: a struct for each kind whose batches can be given up."""


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How an event ended and where that is to be told.

    function_arn: with the version or alias as the record shows it. finished_at_ms: Unix time. last: None when nothing ran.
    targets: ARNs of destinations that get the record. dead_letter_arn: gets the event itself. deliveries_failed: how often
    the router put the outcome back. batch: set for event source mappings; request_payload is then the event that was built.
    """

    event_id: str
    function_arn: str
    condition: Condition
    attempts: int
    request_payload: bytes
    finished_at_ms: int
    last: LastAttempt | None = None
    targets: tuple[str, ...] = ()
    dead_letter_arn: str | None = None
    deliveries_failed: int = 0
    batch: BatchInfo | None = None
    trace: str | None = None


_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(AsyncEvent)
_outcome_decoder = msgspec.msgpack.Decoder(Outcome)


def encode(record: AsyncEvent | Outcome) -> bytes:
    return RECORD_VERSION + _encoder.encode(record)


def decode_event(data: bytes) -> AsyncEvent:
    """Raises RecordError."""
    _check_version(data)
    try:
        return _event_decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise RecordError(f"not an asynchronous event: {error}") from error


def decode_outcome(data: bytes) -> Outcome:
    """Raises RecordError."""
    _check_version(data)
    try:
        return _outcome_decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise RecordError(f"not an outcome: {error}") from error


def _check_version(data: bytes) -> None:
    if data[:1] != RECORD_VERSION:
        raise RecordError(f"record version {data[:1].hex() or 'missing'} is not known")
