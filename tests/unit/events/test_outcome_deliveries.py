"""Which deliveries an outcome becomes: what events.yaml has recorded of destinations, and what its documentation says."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from services.router.outcomes.making import deliveries_of
from shared.events.records import (
    Behalf,
    BucketParameters,
    BusParameters,
    Condition,
    Delivery,
    KafkaParameters,
    LastAttempt,
    MessageAttribute,
    Outcome,
    Role,
)
from tests.unit.events.test_records import FAILURE

PLACE = "us-east-1:000000000000"
FUNCTION = f"arn:aws:lambda:{PLACE}:function:f"
QUEUE, TOPIC, BUS = f"arn:aws:sqs:{PLACE}:q", f"arn:aws:sns:{PLACE}:t", f"arn:aws:events:{PLACE}:event-bus/b"
SUCCESS = msgspec.structs.replace(
    FAILURE,
    condition=Condition.SUCCESS,
    attempts=1,
    request_payload=b'{"mode": "success"}',
    last=LastAttempt("$LATEST", None, b"{}"),
)


def only(outcome: Outcome, target: str, **more: Any) -> Delivery:
    [made] = deliveries_of(msgspec.structs.replace(outcome, targets=(target,), **more))
    return made


@pytest.mark.covers("events", "dest-sqs-message-has-no-attributes")
def test_a_queue_gets_the_record_and_no_attributes() -> None:
    made = only(FAILURE, QUEUE)
    assert (made.behalf, made.role, made.origin_id, made.source_arn) == (
        Behalf.LAMBDA, Role.DESTINATION, "id", f"{FUNCTION}:$LATEST"
    )  # fmt: skip
    assert made.attributes == {}
    assert json.loads(made.payload)["requestContext"]["approximateInvokeCount"] == 3


def test_blanks_around_what_went_in_and_came_out_are_left_out() -> None:
    last = LastAttempt("$LATEST", None, b" {} \n")
    made = only(SUCCESS, QUEUE, request_payload=b'\t{"a":  1}\r\n', last=last)
    assert b'"requestPayload":{"a":  1},' in made.payload
    assert made.payload.endswith(b'"responsePayload":{}}')


@pytest.mark.parametrize(("outcome", "result"), [(SUCCESS, "Success"), (FAILURE, "Failure")])
@pytest.mark.covers("events", "dest-eventbridge-success-event", "dest-eventbridge-failure-event")
def test_a_bus_gets_the_record_as_the_detail_of_an_event(outcome: Outcome, result: str) -> None:
    made = only(outcome, BUS)
    detail_type = f"Lambda Function Invocation Result - {result}"
    assert made.parameters == BusParameters("lambda", detail_type, (BUS, f"{FUNCTION}:$LATEST"), FAILURE.finished_at_ms)
    assert json.loads(made.payload)["requestContext"]["condition"] == outcome.condition.value


def test_a_topic_of_kafka_gets_the_record_under_the_id_of_its_request() -> None:
    made = only(SUCCESS, "kafka://told")
    assert made.parameters == KafkaParameters("", b"id")
    assert json.loads(made.payload)["requestPayload"] == {"mode": "success"}


@pytest.mark.covers("events", "dest-s3-object-key")
def test_a_bucket_gets_an_object_by_function_and_time() -> None:
    made = only(FAILURE, "arn:aws:s3:::failed")
    assert isinstance(made.parameters, BucketParameters)
    assert re.fullmatch(r"aws/lambda/async/f/2019/11/14/2019-11-14T18\.06\.08-[0-9a-f-]{36}", made.parameters.key)
    assert only(FAILURE, "arn:aws:s3:::failed") == made


@pytest.mark.covers("events", "dest-sns-size")
def test_a_record_of_a_failure_that_is_too_large_for_a_topic_goes_without_its_payloads() -> None:
    large = json.dumps("a" * 200_000).encode()
    last = LastAttempt("$LATEST", "Unhandled", large)
    made = only(FAILURE, TOPIC, request_payload=large, last=last)
    assert json.loads(made.payload).keys() == {"version", "timestamp", "requestContext", "responseContext"}
    assert only(FAILURE, QUEUE, request_payload=large, last=last).payload.count(b"a" * 200_000) == 2
    assert len(only(SUCCESS, TOPIC, request_payload=large, last=last).payload) > 400_000


def test_a_destination_and_a_dead_letter_queue_are_both_told() -> None:
    record, letter = deliveries_of(msgspec.structs.replace(FAILURE, targets=(QUEUE,), dead_letter_arn=QUEUE))
    assert (record.role, letter.role) == (Role.DESTINATION, Role.DEAD_LETTER)
    assert letter.payload == b'{"raise_error": 1}'
    assert letter.attributes == {
        "RequestID": MessageAttribute("String", "id"),
        "ErrorCode": MessageAttribute("Number", "200"),
        "ErrorMessage": MessageAttribute("String", "Test exception"),
    }
    assert record.delivery_id != letter.delivery_id


def test_what_an_outcome_becomes_has_the_same_ids_every_time() -> None:
    outcome = msgspec.structs.replace(FAILURE, targets=(QUEUE, TOPIC, BUS), dead_letter_arn=TOPIC)
    first = deliveries_of(outcome)
    assert first == deliveries_of(outcome)
    assert len({made.delivery_id for made in first}) == 4
