"""What a queue has after its attributes were changed, and how it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.frontend.apis.sqs.attributes import changed, difference, shown
from services.frontend.apis.sqs.errors import InvalidAttributeName, InvalidAttributeValue, OverLimit
from shared.domain.errors import ApiError
from shared.domain.queue_attributes import DEFAULTS, FIFO_DEFAULTS, RANGES
from shared.queues.records import DeadLetters, QueueId
from shared.queues.settings import settings_of

TARGET = "arn:aws:sqs:us-east-1:000000000000:dead"


@pytest.mark.parametrize("name", sorted(RANGES))
def test_numbers_are_taken_within_their_ranges(name: str) -> None:
    least, most = RANGES[name]
    kept = {"KmsMasterKeyId": "key", "SqsManagedSseEnabled": "false"} if name.startswith("Kms") else {}
    for value in (least, most):
        found = shown(changed(kept, {name: str(value)}, fifo=False), fifo=False)
        assert found[name] == str(value)
    for text in (str(least - 1), str(most + 1), "", " 1", "1.0", "x", "9" * 30):
        with pytest.raises(InvalidAttributeValue):
            changed(kept, {name: text}, fifo=False)


def test_what_has_its_default_is_not_kept_and_shown_all_the_same() -> None:
    assert changed({}, {"DelaySeconds": "0", "VisibilityTimeout": "30"}, fifo=False) == {}
    assert changed({"DelaySeconds": "5"}, {"DelaySeconds": "0"}, fifo=False) == {}
    without_period = {name: text for name, text in DEFAULTS.items() if name != "KmsDataKeyReusePeriodSeconds"}
    assert shown({}, fifo=False) == without_period
    assert shown({}, fifo=True).keys() - without_period.keys() == FIFO_DEFAULTS.keys() - DEFAULTS.keys()


def test_one_kind_of_encryption_holds_at_a_time() -> None:
    key = changed({}, {"KmsMasterKeyId": "key"}, fifo=False)
    assert key == {"KmsMasterKeyId": "key", "SqsManagedSseEnabled": "false"}
    assert shown(key, fifo=False)["KmsDataKeyReusePeriodSeconds"] == "300"
    assert changed(key, {"KmsMasterKeyId": ""}, fifo=False) == {"SqsManagedSseEnabled": "false"}
    assert changed(key, {"KmsMasterKeyId": "", "SqsManagedSseEnabled": "true"}, fifo=False) == {}
    assert changed(key, {"SqsManagedSseEnabled": "true"}, fifo=False) == {}
    with pytest.raises(InvalidAttributeName):
        changed({}, {"KmsMasterKeyId": "key", "SqsManagedSseEnabled": "true"}, fifo=False)


@pytest.mark.parametrize(
    ("now", "sent", "differs"),
    [
        ({}, {"DelaySeconds": "00"}, None),
        ({}, {"DelaySeconds": "1"}, "DelaySeconds"),
        ({"DelaySeconds": "1"}, {"DelaySeconds": "1", "VisibilityTimeout": "31"}, "VisibilityTimeout"),
        (
            {"RedrivePolicy": json.dumps({"deadLetterTargetArn": TARGET, "maxReceiveCount": 3})},
            {"RedrivePolicy": json.dumps({"maxReceiveCount": "3", "deadLetterTargetArn": TARGET})},
            None,
        ),
        ({}, {"Policy": ""}, None),
    ],
)
def test_attributes_differ_by_what_they_say(now: dict[str, str], sent: dict[str, str], differs: str | None) -> None:
    assert difference(now, sent, fifo=False) == differs


def test_the_type_of_a_queue_stays() -> None:
    assert changed({}, {"FifoQueue": "True"}, fifo=True) == {}
    with pytest.raises(InvalidAttributeValue, match="Modifying queue type is not supported"):
        changed({}, {"FifoQueue": "false"}, fifo=True)


def policy(**statement: Any) -> str:
    whole = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*", **statement}
    return json.dumps({"Version": "2012-10-17", "Statement": [whole]})


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "{}",
        '{"Statement": []}',
        '{"Version": "2000-01-01", "Statement": []}',
        policy(Effect="Maybe"),
        policy(Colour="red"),
        policy(Principal=None),
    ],
)
def test_a_policy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidAttributeValue, match="Invalid value for the parameter Policy"):
        changed({}, {"Policy": text}, fifo=False)


def test_a_policy_is_kept_as_it_was_written_with_twenty_statements_at_most() -> None:
    text = policy()
    assert changed({}, {"Policy": text}, fifo=False) == {"Policy": text}
    many = json.loads(text)
    many["Statement"] *= 21
    with pytest.raises(OverLimit, match="21 statements were found in the submitted policy, max allowed is 20"):
        changed({}, {"Policy": json.dumps(many)}, fifo=False)


def test_the_engine_is_told_what_the_attributes_say() -> None:
    attributes = {
        "VisibilityTimeout": "7",
        "DelaySeconds": "5",
        "ContentBasedDeduplication": "true",
        "DeduplicationScope": "messageGroup",
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": TARGET, "maxReceiveCount": 3}),
    }
    settings = settings_of(changed({}, attributes, fifo=True), 9)
    assert (settings.revision, settings.visibility_s, settings.delay_s, settings.wait_s) == (9, 7, 5, 0)
    assert settings.content_based_deduplication
    assert settings.deduplicate_by_group
    assert settings.dead_letters == DeadLetters(QueueId.of_arn(TARGET), 3)


@pytest.mark.parametrize("name", ["All", "QueueArn", "ApproximateNumberOfMessages", "CreatedTimestamp", "", "x"])
def test_what_nobody_sets_is_unknown(name: str) -> None:
    with pytest.raises(ApiError, match=f"Unknown Attribute {name}."):
        changed({}, {name: "1"}, fifo=True)
