"""What travels on the event topics: an asynchronous event waiting to be run, the outcome of one, and a delivery.

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


class Behalf(enum.StrEnum):
    """The service that a delivery is made for: dead letters, metrics and the ledger differ by it."""

    LAMBDA = "lambda"
    SNS = "sns"
    EVENTS = "events"
    SCHEDULER = "scheduler"


class MessageAttribute(msgspec.Struct, frozen=True, array_like=True):
    """Of a message to a queue or topic. data_type: String, Number or Binary, also with a label ("Number.int"). binary: of a
    Binary, else None."""

    data_type: str
    text: str = ""
    binary: bytes | None = None


class QueueParameters(msgspec.Struct, frozen=True, array_like=True, tag="queue"):
    """group_id, deduplication_id: of a FIFO queue (a standard one takes a group for fairness)."""

    group_id: str | None = None
    deduplication_id: str | None = None


class TopicParameters(msgspec.Struct, frozen=True, array_like=True, tag="topic"):
    """subject: of the message. group_id, deduplication_id: of a FIFO topic."""

    subject: str | None = None
    group_id: str | None = None
    deduplication_id: str | None = None


class BusParameters(msgspec.Struct, frozen=True, array_like=True, tag="bus"):
    """Of the event whose detail is the payload. at_ms: its time, Unix milliseconds.

    event_id, account, region: of one that a bus passes on, empty for a new one. hops: buses that it has passed.
    """

    source: str
    detail_type: str
    resources: tuple[str, ...] = ()
    at_ms: int = 0
    event_id: str = ""
    account: str = ""
    region: str = ""
    hops: int = 0


class BucketParameters(msgspec.Struct, frozen=True, array_like=True, tag="bucket"):
    """key: of the object that the payload becomes."""

    key: str


class KafkaParameters(msgspec.Struct, frozen=True, array_like=True, tag="kafka"):
    """bootstrap_servers: the cluster, this one's own when empty. key: of the record."""

    bootstrap_servers: str = ""
    key: bytes | None = None


class HttpParameters(msgspec.Struct, frozen=True, array_like=True, tag="http"):
    """headers: of the POST that has the payload as its body."""

    headers: tuple[tuple[str, str], ...] = ()


class ApiDestinationParameters(msgspec.Struct, frozen=True, array_like=True, tag="api-destination"):
    """path_values: for the stars of the destination's address. headers, query: by name."""

    path_values: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


Parameters = (
    QueueParameters
    | TopicParameters
    | BusParameters
    | BucketParameters
    | KafkaParameters
    | HttpParameters
    | ApiDestinationParameters
)


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True):
    """How long a delivery is tried. age_s_max: since it was made. retries_max: after the first try; None: only age counts.

    pauses_s: before the first retry, the second and so on, the last one for all that follow; 0 is at once. Empty: the pauses of
    whatever cannot go on now (settings, events.backoff_delays_s).
    """

    age_s_max: int = 21_600
    retries_max: int | None = None
    pauses_s: tuple[float, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """Where a delivery goes that its target does not take. payload: None where it is the delivery's own. attributes: besides
    those with which the service says why (services/router/deliveries/dead_letters.py). parameters: of this target."""

    arn: str
    payload: bytes | None = None
    attributes: dict[str, MessageAttribute] = {}
    parameters: Parameters | None = None


class Role(enum.StrEnum):
    """What a delivery is to its target."""

    TARGET = "target"
    """Of a subscription, rule or schedule."""
    DESTINATION = "destination"
    """The record of an invocation or batch."""
    DEAD_LETTER = "dead_letter"


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """One thing to be handed to one target, from when it is made until it is there, dead-lettered or refused for good.

    delivery_id: the same for every try and unique to what is delivered to whom: targets deduplicate by it.
    behalf, source_arn: the service, and its function, subscription, rule or schedule.
    origin_id: the request, message or event that it comes from, by which the ledger finds it.
    target: ARN, kafka://topic or http(s):// address. payload: the body, as the target gets it.
    made_at_ms: Unix time; its age counts from it. attempts: tries that failed. put_offs: how often it was put off because
    its target was busy (not attempts). due_ms: Unix time before which it is not tried again.
    """

    delivery_id: str
    behalf: Behalf
    source_arn: str
    origin_id: str
    target: str
    payload: bytes
    made_at_ms: int
    role: Role = Role.TARGET
    attributes: dict[str, MessageAttribute] = {}
    parameters: Parameters | None = None
    retry: RetryPolicy = RetryPolicy()
    dead_letter: DeadLetter | None = None
    trace: str | None = None
    attempts: int = 0
    put_offs: int = 0
    due_ms: int = 0


_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(AsyncEvent)
_outcome_decoder = msgspec.msgpack.Decoder(Outcome)
_delivery_decoder = msgspec.msgpack.Decoder(Delivery)


def encode(record: AsyncEvent | Outcome | Delivery) -> bytes:
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


def decode_delivery(data: bytes) -> Delivery:
    """Raises RecordError."""
    _check_version(data)
    try:
        return _delivery_decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise RecordError(f"not a delivery: {error}") from error


def _check_version(data: bytes) -> None:
    if data[:1] != RECORD_VERSION:
        raise RecordError(f"record version {data[:1].hex() or 'missing'} is not known")
