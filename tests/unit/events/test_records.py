"""What travels on the event topics, and what destinations are shown of it."""

from __future__ import annotations

import json

import msgspec
import pytest

from services.router.outcomes import record
from shared.events.records import (
    AsyncEvent,
    Behalf,
    Condition,
    DeadLetter,
    Delivery,
    KafkaBatchInfo,
    KafkaPartitionInfo,
    LastAttempt,
    MessageAttribute,
    Outcome,
    QueueParameters,
    RecordError,
    RetryPolicy,
    TopicParameters,
    decode_delivery,
    decode_event,
    decode_outcome,
    encode,
)

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
ERROR = b'{"errorMessage": "Test exception", "errorType": "Exception"}'
EVENT = AsyncEvent(
    "id", "f", "live", b"\x00\xff", 5, attempts=2, trace="Root=1", backoffs=1, last=LastAttempt("1", "Unhandled", b"x")
)
FAILURE = Outcome(
    "id",
    f"{ARN}:$LATEST",
    Condition.RETRIES_EXHAUSTED,
    3,
    b'{"raise_error": 1}',
    1573754768568,
    LastAttempt("$LATEST", "Unhandled", ERROR),
)
DELIVERY = Delivery(
    "d",
    Behalf.EVENTS,
    "arn:rule",
    "e",
    "arn:queue.fifo",
    b"\x00\xff",
    5,
    attributes={"a": MessageAttribute("Binary", binary=b"\x00"), "b": MessageAttribute("String", "x")},
    parameters=QueueParameters("group", "once"),
    retry=RetryPolicy(60, 2, (0, 1.5)),
    dead_letter=DeadLetter("arn:dead", b"event", parameters=TopicParameters("subject")),
    attempts=2,
)
BATCH = KafkaBatchInfo(2, "arn:k", "h:9092", 300, {"t-0": KafkaPartitionInfo(100, 101, 1749116692330, 1749116692331)})
BATCH_EVENT = (
    b'{"eventSource":"aws:kafka","bootstrapServers":"h:9092","records":{"t-0":['
    b'{"topic":"t","partition":0,"offset":100,"timestamp":1749116692330,"key":"a2V5","headers":[]},'
    b'{"topic":"t","partition":0,"offset":101,"timestamp":1749116692331,"headers":[]}]}}'
)


def test_records_survive_their_encoding() -> None:
    assert decode_event(encode(EVENT)) == EVENT
    outcome = msgspec.structs.replace(FAILURE, batch=BATCH, targets=("a", "b"), dead_letter_arn="c")
    assert decode_outcome(encode(outcome)) == outcome
    assert decode_delivery(encode(DELIVERY)) == DELIVERY


def test_a_record_with_a_newer_field_or_without_the_newest_can_be_read() -> None:
    fields = msgspec.msgpack.decode(encode(EVENT)[1:])
    assert decode_event(b"\x01" + msgspec.msgpack.encode([*fields, "from the future"])) == EVENT
    assert decode_event(b"\x01" + msgspec.msgpack.encode(fields[:5])).attempts == 0


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02\x90", b"\x01\x91\xc0", b"{}", b"\x01" + b"\xff" * 50])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode_event(data)
    with pytest.raises(RecordError):
        decode_outcome(data)
    with pytest.raises(RecordError):
        decode_delivery(data)


def test_a_failure_record_is_awss() -> None:
    assert json.loads(record.invocation_record(FAILURE)) == {
        "version": "1.0",
        "timestamp": "2019-11-14T18:06:08.568Z",
        "requestContext": {
            "requestId": "id",
            "functionArn": f"{ARN}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"raise_error": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "Test exception", "errorType": "Exception"},
    }


def test_a_success_record_has_no_function_error() -> None:
    success = msgspec.structs.replace(
        FAILURE, condition=Condition.SUCCESS, attempts=1, last=LastAttempt("$LATEST", None, b"[1]")
    )
    shown = json.loads(record.invocation_record(success))
    assert shown["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert shown["responsePayload"] == [1]


@pytest.mark.parametrize(("payload", "shown"), [(b"", None), (b"not json", "not json"), (b"\xff", "\ufffd"), (b'"s"', "s")])
def test_any_answer_of_a_function_can_be_shown(payload: bytes, shown: object) -> None:
    odd = msgspec.structs.replace(FAILURE, last=LastAttempt("1", None, payload))
    assert json.loads(record.invocation_record(odd))["responsePayload"] == shown


def test_a_record_of_what_never_ran_shows_no_response() -> None:
    shown = json.loads(
        record.invocation_record(msgspec.structs.replace(FAILURE, condition=Condition.EVENT_AGE_EXCEEDED, last=None))
    )
    assert shown.keys() == {"version", "timestamp", "requestContext", "requestPayload"}


def test_a_dead_letter_carries_three_attributes() -> None:
    assert record.dead_letter_attributes(FAILURE) == {
        "RequestID": MessageAttribute("String", "id"),
        "ErrorCode": MessageAttribute("Number", "200"),
        "ErrorMessage": MessageAttribute("String", "Test exception"),
    }


def test_a_dead_letters_message_is_cut_at_one_kilobyte_between_characters() -> None:
    assert record.error_message(json.dumps({"errorMessage": "é" * 2_000}).encode()) == "é" * 512
    assert len(record.error_message(json.dumps({"errorMessage": "aé" * 2_000}).encode()).encode()) <= 1_024


def test_a_discarded_batch_is_told_with_offsets_as_text() -> None:
    outcome = msgspec.structs.replace(FAILURE, condition=Condition.RETRY_ATTEMPTS_EXHAUSTED, function_arn=ARN, batch=BATCH)
    assert json.loads(record.batch_record(outcome)) == {
        "requestContext": {
            "requestId": "id",
            "functionArn": ARN,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2019-11-14T18:06:08.568Z",
        "KafkaBatchInfo": {
            "batchSize": 2,
            "eventSourceArn": "arn:k",
            "bootstrapServers": "h:9092",
            "payloadSize": 300,
            "recordsInfo": {
                "t-0": {
                    "firstRecordOffset": "100",
                    "lastRecordOffset": "101",
                    "firstRecordTimestamp": "2025-06-05T09:44:52.330Z",
                    "lastRecordTimestamp": "2025-06-05T09:44:52.331Z",
                }
            },
        },
    }


def test_a_record_too_large_to_send_has_a_null_response() -> None:
    outcome = msgspec.structs.replace(FAILURE, condition=Condition.PAYLOAD_TOO_LARGE, last=None, batch=BATCH)
    assert json.loads(record.batch_record(outcome))["responseContext"] is None


def test_a_topic_gets_one_message_for_each_record_with_the_records_key() -> None:
    outcome = msgspec.structs.replace(
        FAILURE, condition=Condition.RETRY_ATTEMPTS_EXHAUSTED, function_arn=ARN, batch=BATCH, request_payload=BATCH_EVENT
    )
    (first_key, first), (second_key, second) = record.topic_messages(outcome)
    assert (first_key, second_key) == (b"key", None)
    shown = json.loads(first)
    assert shown["requestContext"]["functionArn"] == f"{ARN}:$LATEST"
    assert shown["requestContext"]["condition"] == "RetriesExhausted"
    assert shown["KafkaBatchInfo"]["recordInfo"] == {"offset": "100", "timestamp": "2025-06-05T09:44:52.330Z"}
    assert shown["KafkaBatchInfo"]["batchSize"] == 1
    assert [r["offset"] for r in shown["payload"]["records"]["t-0"]] == [100]
    assert [r["offset"] for r in json.loads(second)["payload"]["records"]["t-0"]] == [101]
