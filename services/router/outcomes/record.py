"""How an outcome looks to whoever is told of it: invocation records, Kafka batch records, dead letters.

Source: "Capturing records of Lambda asynchronous invocations" and "Capturing discarded batches for Kafka event sources" in the
Lambda developer guide, and recordings of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from shared.domain.arns import LATEST
from shared.events.records import Condition, MessageAttribute, Outcome

VERSION = "1.0"
FUNCTION_STATUS = 200
"""A function's own error does not make the invocation one."""
THROTTLED_STATUS = 429
REFUSED_STATUS = 400
ERROR_MESSAGE_BYTES_MAX = 1_024
NOTHING = msgspec.Raw(b"null")

_encode = msgspec.json.Encoder().encode


class _Struct(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class RequestContext(_Struct, frozen=True):
    request_id: str
    function_arn: str
    condition: str
    approximate_invoke_count: int


class ResponseContext(_Struct, frozen=True):
    status_code: int
    executed_version: str
    function_error: str | msgspec.UnsetType = msgspec.UNSET


class BatchResponseContext(msgspec.Struct, frozen=True, rename="camel"):
    status_code: int
    executed_version: str
    function_error: str | None


class InvocationRecord(_Struct, frozen=True):
    version: str
    timestamp: str
    request_context: RequestContext
    request_payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response_context: ResponseContext | msgspec.UnsetType = msgspec.UNSET
    response_payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class PartitionInfo(_Struct, frozen=True):
    first_record_offset: str
    last_record_offset: str
    first_record_timestamp: str
    last_record_timestamp: str


class RecordInfo(_Struct, frozen=True):
    offset: str
    timestamp: str


class BatchInfo(_Struct, frozen=True):
    batch_size: int
    bootstrap_servers: str
    payload_size: int
    event_source_arn: str | msgspec.UnsetType = msgspec.UNSET
    records_info: dict[str, PartitionInfo] | msgspec.UnsetType = msgspec.UNSET
    record_info: RecordInfo | msgspec.UnsetType = msgspec.UNSET


class BatchRecord(msgspec.Struct, frozen=True, rename={"batch": "KafkaBatchInfo", "request_context": "requestContext",
                                                       "response_context": "responseContext"}):  # fmt: skip
    request_context: RequestContext
    response_context: BatchResponseContext | msgspec.UnsetType | None
    version: str
    timestamp: str
    batch: BatchInfo
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _RecordKey(msgspec.Struct):
    offset: int
    timestamp: int
    key: bytes | None = None


class _Event(msgspec.Struct):
    records: dict[str, list[msgspec.Raw]]


def invocation_record(outcome: Outcome, *, with_payloads: bool = True) -> bytes:
    """The record of an asynchronous invocation, as every kind of destination gets it. with_payloads: what went in and came out;
    a topic is told of a failure without, where they are too large for it."""
    last = outcome.last
    return _encode(
        InvocationRecord(
            version=VERSION,
            timestamp=iso(outcome.finished_at_ms),
            request_context=_request_context(outcome),
            request_payload=json_or_text(outcome.request_payload) if with_payloads else msgspec.UNSET,
            response_context=msgspec.UNSET
            if last is None
            else ResponseContext(FUNCTION_STATUS, last.executed_version, last.function_error or msgspec.UNSET),
            response_payload=msgspec.UNSET if last is None or not with_payloads else json_or_text(last.payload),
        )
    )


def batch_record(outcome: Outcome, *, with_payload: bool = False) -> bytes:
    """The record of a batch of Kafka records that was given up; the records themselves are in it, as the text of the whole
    event, only with_payload."""
    assert outcome.batch is not None
    batch = outcome.batch
    partitions = {
        name: PartitionInfo(
            str(info.first_offset), str(info.last_offset), iso(info.first_timestamp_ms), iso(info.last_timestamp_ms)
        )
        for name, info in batch.partitions.items()
    }
    info = BatchInfo(
        batch.batch_size,
        batch.bootstrap_servers,
        batch.payload_bytes,
        batch.event_source_arn or msgspec.UNSET,
        partitions,
    )
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    if with_payload and outcome.request_payload:
        payload = msgspec.Raw(_encode(outcome.request_payload.decode()))
    return _encode(
        BatchRecord(_request_context(outcome), _batch_response(outcome), VERSION, iso(outcome.finished_at_ms), info, payload)
    )


def topic_messages(outcome: Outcome) -> Iterator[tuple[bytes | None, bytes]]:
    """(key, value) of the messages for a Kafka topic as on-failure destination: one for each record of the batch."""
    assert outcome.batch is not None
    batch = outcome.batch
    context = msgspec.structs.replace(
        _request_context(outcome),
        function_arn=outcome.function_arn if outcome.function_arn.count(":") > 6 else f"{outcome.function_arn}:{LATEST}",
        condition=Condition.RETRIES_EXHAUSTED.value
        if outcome.condition is Condition.RETRY_ATTEMPTS_EXHAUSTED
        else outcome.condition.value,
    )
    event = msgspec.json.decode(outcome.request_payload, type=dict[str, msgspec.Raw])
    for name, records in msgspec.json.decode(outcome.request_payload, type=_Event).records.items():
        for raw in records:
            record = msgspec.json.decode(raw, type=_RecordKey)
            payload = _encode({**event, "records": {name: [raw]}})
            info = BatchInfo(
                1,
                batch.bootstrap_servers,
                len(payload),
                batch.event_source_arn or msgspec.UNSET,
                record_info=RecordInfo(str(record.offset), iso(record.timestamp)),
            )
            value = BatchRecord(
                context, _batch_response(outcome), VERSION, iso(outcome.finished_at_ms), info, msgspec.Raw(payload)
            )
            yield record.key, _encode(value)


def dead_letter_attributes(outcome: Outcome) -> dict[str, MessageAttribute]:
    """The attributes of a dead letter, whose body is the event itself."""
    status, message = FUNCTION_STATUS, ""
    if outcome.last is not None:
        message = error_message(outcome.last.payload)
    elif outcome.condition is Condition.ZERO_RESERVED_CONCURRENCY:
        status, message = THROTTLED_STATUS, "Rate Exceeded."
    elif outcome.condition is Condition.RECURSIVE_INVOCATION:
        status, message = REFUSED_STATUS, "Lambda has detected the function in a recursive loop and stopped its invocation."
    attributes = {
        "RequestID": MessageAttribute("String", outcome.event_id),
        "ErrorCode": MessageAttribute("Number", str(status)),
    }
    # An attribute cannot be empty.
    attributes["ErrorMessage"] = MessageAttribute("String", message or outcome.condition.value)
    return attributes


def error_message(payload: bytes) -> str:
    """The errorMessage of a function's error document, its first KB; "" when it has none."""
    try:
        document = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return ""
    message = document.get("errorMessage") if isinstance(document, dict) else None
    if not isinstance(message, str):
        return ""
    return message.encode()[:ERROR_MESSAGE_BYTES_MAX].decode(errors="ignore")


def json_or_text(payload: bytes) -> msgspec.Raw:
    """The payload as it is when it is JSON, but for blanks around it; null when it is empty, else as a JSON string."""
    if not payload:
        return NOTHING
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.Raw(_encode(payload.decode(errors="replace")))
    return msgspec.Raw(payload.strip(b" \t\r\n"))


def iso(unix_ms: int) -> str:
    """2026-01-31T12:00:00.123Z"""
    return datetime.fromtimestamp(unix_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_context(outcome: Outcome) -> RequestContext:
    return RequestContext(outcome.event_id, outcome.function_arn, outcome.condition.value, outcome.attempts)


def _batch_response(outcome: Outcome) -> BatchResponseContext | msgspec.UnsetType | None:
    if outcome.last is not None:
        return BatchResponseContext(FUNCTION_STATUS, outcome.last.executed_version, outcome.last.function_error)
    return None if outcome.condition is Condition.PAYLOAD_TOO_LARGE else msgspec.UNSET
