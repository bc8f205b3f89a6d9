"""What a firing hands to each kind of target."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from services.router.deliveries.attempts import numbered
from services.scheduler.schedules.deliveries import deliveries_of, home_and_names
from shared.domain import schedule_targets
from shared.domain.arns import Home
from shared.domain.destinations import ADDRESS, API_DESTINATION, KINDS, kind_of
from shared.domain.errors import ValidationException
from shared.domain.schedules import Schedule
from shared.domain.timers import Firing
from shared.events.records import (
    Behalf,
    BusParameters,
    Delivery,
    MessageAttribute,
    QueueParameters,
    RetryPolicy,
    TopicParameters,
)

HOME = Home("000000000000", "eu-west-1")
ROLE = "arn:aws:iam::000000000000:role/r"
PLACE = "eu-west-1:000000000000"
FUNCTION, QUEUE, TOPIC = f"arn:aws:lambda:{PLACE}:function:f:live", f"arn:aws:sqs:{PLACE}:q", f"arn:aws:sns:{PLACE}:t"
BUS = f"arn:aws:events:{PLACE}:event-bus/b"
SDK = "arn:aws:scheduler:::aws-sdk"
DUE_MS = 1_750_000_020_000
SCHEDULE_ARN = f"arn:aws:scheduler:{PLACE}:schedule/g/s"


def fire(**target: Any) -> list[Delivery]:
    target = {"RoleArn": ROLE, "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 3}, **target}
    schedule_targets.check(target)
    schedule = Schedule(
        HOME, "g", "s", "rate(1 day)", "UTC", "ENABLED", None, None, None, None, None, "NONE", target, 1, 1
    )  # fmt: skip
    return deliveries_of(schedule, Firing(schedule.arn, "generation", DUE_MS), DUE_MS + 5)


def one(**target: Any) -> Delivery:
    [delivery] = fire(**target)
    return delivery


def test_a_delivery_says_for_whom_it_is_and_how_long_it_is_tried() -> None:
    found = one(Arn=FUNCTION, Input='{"a": 1}', DeadLetterConfig={"Arn": f"{QUEUE}-dead"})
    assert (found.target, found.payload, found.behalf, found.source_arn) == (
        FUNCTION,
        b'{"a": 1}',
        Behalf.SCHEDULER,
        SCHEDULE_ARN,
    )
    assert found.delivery_id == f"{SCHEDULE_ARN}#generation#{DUE_MS}"
    assert found.retry == RetryPolicy(age_s_max=60, retries_max=3)
    assert found.dead_letter is not None
    assert found.dead_letter.arn == f"{QUEUE}-dead"
    assert {name: told.text for name, told in found.dead_letter.attributes.items()} == {
        "EXECUTION_ID": found.origin_id,
        "IS_PAYLOAD_TRUNCATED": "false",
        "SCHEDULED_TIME": "2025-06-15T15:07:00Z",
    }
    assert found.made_at_ms == DUE_MS + 5


def test_a_target_without_input_gets_a_notification() -> None:
    told = json.loads(one(Arn=QUEUE).payload)
    assert told.pop("id")
    assert told == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "000000000000",
        "time": "2025-06-15T15:07:00Z",
        "region": "eu-west-1",
        "resources": [SCHEDULE_ARN],
        "detail": "{}",
    }


def test_context_attributes_are_filled_in_and_the_attempt_is_left_to_each_try() -> None:
    text = "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.execution-id> <aws.scheduler.attempt-number>"
    first, again = one(Arn=QUEUE, Input=text), one(Arn=QUEUE, Input=text)
    arn, time, execution, attempt = first.payload.decode().split()
    assert (arn, time, attempt) == (SCHEDULE_ARN, "2025-06-15T15:07:00Z", "<aws.scheduler.attempt-number>")
    assert execution == first.origin_id
    assert first == again


def test_a_queue_gets_the_text_with_its_group() -> None:
    found = one(Arn=f"{QUEUE}.fifo", Input="no JSON", SqsParameters={"MessageGroupId": "g"})
    assert (found.payload, found.parameters) == (b"no JSON", QueueParameters("g"))


def test_a_topic_gets_the_text() -> None:
    assert one(Arn=TOPIC, Input="hello").parameters == TopicParameters()


def test_a_bus_gets_an_event_of_the_scheduled_time() -> None:
    found = one(Arn=BUS, Input='{"a":1}', EventBridgeParameters={"DetailType": "d", "Source": "s"})
    assert found.parameters == BusParameters("s", "d", (SCHEDULE_ARN,), DUE_MS)


def test_universal_targets_call_what_they_name() -> None:
    sent = one(
        Arn=f"{SDK}:sqs:sendMessage",
        Input=json.dumps(
            {
                "QueueUrl": "http://localhost:9000/000000000000/q",
                "MessageBody": "m",
                "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}},
            }
        ),
    )
    assert (sent.target, sent.payload, sent.attributes) == (QUEUE, b"m", {"a": MessageAttribute("String", "v")})
    published = one(Arn=f"{SDK}:sns:publish", Input=json.dumps({"TopicArn": TOPIC, "Message": "m", "Subject": "s"}))
    assert (published.target, published.payload, published.parameters) == (TOPIC, b"m", TopicParameters("s"))
    invoked = one(Arn=f"{SDK}:lambda:invoke", Input=json.dumps({"FunctionName": "f:live", "Payload": {"a": 1}}))
    assert (invoked.target, invoked.payload) == (FUNCTION, b'{"a":1}')
    entry = {"Source": "s", "DetailType": "d", "Detail": "{}"}
    put = fire(Arn=f"{SDK}:eventbridge:putEvents", Input=json.dumps({"Entries": [entry, {**entry, "EventBusName": "b"}]}))
    assert [each.target for each in put] == [f"arn:aws:events:{PLACE}:event-bus/default", BUS]
    assert len({each.delivery_id for each in put}) == 2


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"Arn": "nothing"}, "not in correct format"),
        ({"Arn": f"arn:aws:sqs:{PLACE}:"}, "not in correct format"),
        ({"Arn": f"arn:aws:kinesis:{PLACE}:stream/s"}, "KinesisParameters is required"),
        ({"Arn": f"arn:aws:ecs:{PLACE}:cluster/c"}, "EcsParameters is required"),
        ({"Arn": "arn:aws:s3:::bucket"}, "not in correct format"),
        ({"Arn": f"{SDK}:ec2:describeInstances", "Input": "{}"}, "only reads"),
        ({"Arn": f"{SDK}:ec2:stopInstances", "Input": "[]"}, "Invalid RequestJson"),
        ({"Arn": BUS, "Input": "[]", "EventBridgeParameters": {"DetailType": "d", "Source": "s"}}, "Invalid RequestJson"),
        ({"Arn": FUNCTION, "Input": "no JSON"}, "Invalid RequestJson"),
        ({"Arn": FUNCTION, "Input": "[" * 100_000}, "Invalid RequestJson"),
        ({"Arn": BUS, "Input": "{}"}, "EventBridgeParameters is required"),
        ({"Arn": QUEUE, "Input": "x" * 262_145}, "smaller than"),
        ({"Arn": f"{SDK}:sqs:sendMessage"}, "Invalid RequestJson"),
        ({"Arn": f"{SDK}:sqs:sendMessage", "Input": '{"QueueUrl": "u"}'}, "MessageBody is missing"),
        ({"Arn": f"{SDK}:sqs:sendMessage", "Input": '{"QueueUrl": "u", "MessageBody": 1}'}, "MessageBody is text"),
        (
            {"Arn": f"{SDK}:sqs:sendMessage", "Input": '{"QueueUrl": "u", "MessageBody": "m", "DelaySeconds": 901}'},
            "DelaySeconds",
        ),
        (
            {"Arn": f"{SDK}:sns:publish", "Input": '{"TopicArn": "t", "Message": "m", "MessageAttributes": {"a": 1}}'},
            "MessageAttributes",
        ),
        (
            {
                "Arn": f"{SDK}:sns:publish",
                "Input": '{"TopicArn": "t", "Message": "m", "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "?"}}}',
            },
            "MessageAttributes",
        ),
        ({"Arn": f"{SDK}:eventbridge:putEvents", "Input": '{"Entries": []}'}, "Entries"),
        (
            {
                "Arn": f"{SDK}:eventbridge:putEvents",
                "Input": '{"Entries": [{"Source": "s", "DetailType": "d", "Detail": "x"}]}',
            },
            "Invalid",
        ),
    ],
)
def test_what_nothing_could_be_delivered_to_is_refused(target: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationException, match=why):
        schedule_targets.check({"RoleArn": ROLE, **target})


@pytest.mark.parametrize(
    "target",
    [
        {"Arn": f"arn:aws:states:{PLACE}:stateMachine:m"},
        {"Arn": f"arn:aws:kinesis:{PLACE}:stream/s", "KinesisParameters": {"PartitionKey": "k"}},
        {"Arn": f"arn:aws:firehose:{PLACE}:deliverystream/s"},
        {"Arn": f"{SDK}:ec2:stopInstances"},
        {"Arn": f"{SDK}:sfn:startExecution"},
    ],
)
def test_what_runs_elsewhere_is_taken_and_becomes_a_delivery_that_nobody_takes(target: dict[str, Any]) -> None:
    found = one(**target, Input='{"a": 1}')
    assert (found.target, found.payload) == (target["Arn"], b'{"a": 1}')
    assert kind_of(found.target) not in {kind.name for kind in KINDS} | {ADDRESS, API_DESTINATION}


def test_a_message_may_be_delayed_and_have_bytes_for_attributes() -> None:
    attributes = {"a": {"DataType": "Binary", "BinaryValue": "AAE="}}
    request = {"QueueUrl": "http://h/000000000000/q", "MessageBody": "m", "DelaySeconds": 7, "MessageAttributes": attributes}
    found = one(Arn=f"{SDK}:sqs:sendMessage", Input=json.dumps(request))
    assert found.due_ms == DUE_MS + 5 + 7_000
    assert found.attributes == {"a": MessageAttribute("Binary", binary=b"\x00\x01")}
    assert one(Arn=QUEUE).due_ms == 0


def test_a_schedule_is_found_by_its_arn() -> None:
    assert home_and_names(SCHEDULE_ARN) == (HOME, "g", "s")


def test_each_try_is_told_its_number() -> None:
    delivery = one(Arn=QUEUE, Input="try <aws.scheduler.attempt-number>")
    assert numbered(delivery).payload == b"try 1"
    assert numbered(msgspec.structs.replace(delivery, attempts=2)).payload == b"try 3"
