"""Delivery policies: the pauses between tries that they ask for, and policies that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.domain.delivery_policies import (
    DEFAULT_RETRY,
    PLAIN_TEXT,
    DeliveryPolicyError,
    effective,
    pauses_s,
    read_subscription_policy,
    read_topic_policy,
)


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ({}, (20, 20, 20)),
        ({"numRetries": 0}, ()),
        ({"numRetries": 3, "minDelayTarget": 1, "maxDelayTarget": 3}, (1, 2, 3)),
        ({"numRetries": 4, "numNoDelayRetries": 2, "minDelayTarget": 1, "numMaxDelayRetries": 1}, (0, 0, 1, 20)),
        ({"numRetries": 3, "minDelayTarget": 1, "maxDelayTarget": 4, "backoffFunction": "exponential"}, (1, 2, 4)),
        ({"numRetries": 2, "numMinDelayRetries": 2, "minDelayTarget": 5}, (5, 5)),
    ],
)
def test_retries_have_four_phases(retry: dict[str, Any], expected: tuple[float, ...]) -> None:
    assert pauses_s({**DEFAULT_RETRY, **retry}) == pytest.approx(expected)


@pytest.mark.parametrize("function", ["linear", "arithmetic", "geometric", "exponential"])
def test_pauses_grow_from_the_shortest_to_the_longest(function: str) -> None:
    found = pauses_s(
        {**DEFAULT_RETRY, "numRetries": 10, "minDelayTarget": 1, "maxDelayTarget": 60, "backoffFunction": function}
    )
    assert found == tuple(sorted(found))
    assert (found[0], found[-1]) == pytest.approx((1, 60))


def test_a_subscription_has_its_own_policy_unless_the_topic_forbids_it() -> None:
    own = json.dumps(read_subscription_policy('{"requestPolicy": {"headerContentType": "text/csv"}}'))
    topic = json.dumps(read_topic_policy('{"http": {"disableSubscriptionOverrides": true}}'))
    assert effective(own, None).content_type == "text/csv"
    assert effective(own, topic).content_type == PLAIN_TEXT


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"other": {}}',
        '{"http": {"surprise": 1}}',
        '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 101}}}',
        '{"http": {"defaultHealthyRetryPolicy": {"numRetries": true}}}',
        '{"http": {"defaultHealthyRetryPolicy": {"minDelayTarget": 30, "maxDelayTarget": 20}}}',
        '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 1, "numNoDelayRetries": 2}}}',
        '{"http": {"defaultHealthyRetryPolicy": {"backoffFunction": "wild"}}}',
        '{"http": {"defaultRequestPolicy": {"headerContentType": "a\\r\\nb"}}}',
        '{"http": {"defaultThrottlePolicy": {"maxReceivesPerSecond": 0}}}',
    ],
)
def test_what_is_no_policy_of_a_topic_is_refused(policy: str) -> None:
    with pytest.raises(DeliveryPolicyError):
        read_topic_policy(policy)
