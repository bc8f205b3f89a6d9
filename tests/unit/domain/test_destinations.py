"""What may be named as a destination, and for what."""

from __future__ import annotations

import pytest

from shared.domain.arns import Home
from shared.domain.destinations import Use, is_deliverable, is_function_elsewhere, kind_of

HERE = "us-east-1:000000000000"
ALL = set(Use)
ASYNCHRONOUS = {Use.ON_SUCCESS, Use.ON_FAILURE}


@pytest.mark.parametrize(
    ("target", "uses"),
    [
        (f"arn:aws:sqs:{HERE}:q", ALL),
        (f"arn:aws:sns:{HERE}:t", ALL),
        (f"arn:aws:lambda:{HERE}:function:f", ASYNCHRONOUS),
        (f"arn:aws:lambda:{HERE}:function:f:live", ASYNCHRONOUS),
        ("arn:aws:s3:::a-bucket", {Use.ON_FAILURE, Use.DISCARDED_BATCH}),
        ("kafka://topic", {Use.DISCARDED_BATCH, *ASYNCHRONOUS}),
        (f"arn:aws:events:{HERE}:event-bus/default", ASYNCHRONOUS),
        (f"arn:aws:sqs:{HERE}:q.fifo", set()),
        (f"arn:aws:sns:{HERE}:t.fifo", set()),
        (f"arn:aws:lambda:{HERE}:layer:l:1", set()),
        (f"arn:aws:sqs:{HERE}:", set()),
        ("kafka://", set()),
        ("", set()),
    ],
)
@pytest.mark.covers("events", "dest-allowed-kinds", "dlq-targets")
def test_each_kind_is_for_its_own_uses(target: str, uses: set[Use]) -> None:
    assert {use for use in Use if is_deliverable(target, use)} == uses


def test_a_targets_kind_is_its_service() -> None:
    assert kind_of("arn:aws:sqs:us-east-1:0:q") == "sqs"
    assert kind_of("kafka://topic") == "kafka"
    assert kind_of("nonsense") == ""


@pytest.mark.parametrize(
    ("target", "elsewhere"),
    [
        (f"arn:aws:lambda:{HERE}:function:f", False),
        ("arn:aws:lambda:us-east-1:111111111111:function:f", True),
        ("arn:aws:lambda:eu-west-1:000000000000:function:f", True),
        ("arn:aws:sqs:eu-west-1:000000000000:q", False),
    ],
)
def test_a_function_of_another_account_or_region_is_none_of_ours(target: str, elsewhere: bool) -> None:
    assert is_function_elsewhere(target, Home("000000000000", "us-east-1")) is elsewhere
