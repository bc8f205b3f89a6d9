"""What AWS's SNS was seen to do in several calls of its API, with nothing delivered."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.control_plane import ControlPlane
from tests.conformance.facts import Fact, load
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
RETRY = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}


def fact(name: str) -> Fact:
    return next(one for one in load("sns") if one.id == name)


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def sns(control_plane: ControlPlane) -> Any:
    return control_plane.wire("sns", "query").client


@pytest.fixture
def topic(sns: Any) -> str:
    return str(sns.create_topic(Name=unique("t"))["TopicArn"])


@pytest.fixture
def fifo_topic(sns: Any) -> str:
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    return str(sns.create_topic(Name=f"{unique('t')}.fifo", Attributes=attributes)["TopicArn"])


def attributes_of(sns: Any, topic: str) -> dict[str, str]:
    return dict(sns.get_topic_attributes(TopicArn=topic)["Attributes"])


def subscribed(sns: Any, topic: str, endpoint: str = "", **attributes: str) -> str:
    endpoint = endpoint or QUEUE + unique("q")
    reply = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint, Attributes=attributes)
    return str(reply["SubscriptionArn"])


def subscription(sns: Any, arn: str) -> dict[str, str]:
    return dict(sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"])


def change(sns: Any, arn: str, name: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=text)


@pytest.mark.covers("sns", "create-topic.same-name-in-two-regions")
def test_a_topic_of_the_same_name_in_another_region_is_another_one(control_plane: ControlPlane, sns: Any) -> None:
    name = unique("t")
    elsewhere = control_plane.wire("sns", "query", OTHER_REGION).client
    arns = [client.create_topic(Name=name)["TopicArn"] for client in (sns, elsewhere)]
    assert arns[1] == arns[0].replace(REGION, OTHER_REGION)
    for client, arn, other in ((sns, *arns), (elsewhere, *reversed(arns))):
        listed = {one["TopicArn"] for page in client.get_paginator("list_topics").paginate() for one in page["Topics"]}
        assert arn in listed
        assert other not in listed


@pytest.mark.covers("sns", "set-topic-attributes.delivery-policy-on-standard-topic")
def test_a_standard_topic_has_a_delivery_policy(sns: Any, topic: str) -> None:
    request = {"defaultRequestPolicy": {"headerContentType": "application/json"}}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DeliveryPolicy", AttributeValue=json.dumps({"http": request}))
    found = attributes_of(sns, topic)
    assert json.loads(found["DeliveryPolicy"]) == {"http": {"disableSubscriptionOverrides": False, **request}}
    effective = {"defaultHealthyRetryPolicy": RETRY, "disableSubscriptionOverrides": False, **request}
    assert json.loads(found["EffectiveDeliveryPolicy"]) == {"http": effective}


@pytest.mark.covers("sns", "set-topic-attributes.lambda-success-feedback")
def test_what_a_topic_is_to_tell_of_its_deliveries_is_shown(sns: Any, topic: str) -> None:
    """The counters are those of now; on AWS they lag behind."""
    role = f"arn:aws:iam::{ACCOUNT}:role/feedback"
    before = attributes_of(sns, topic)
    for name, value in (("LambdaSuccessFeedbackRoleArn", role), ("LambdaSuccessFeedbackSampleRate", "100")):
        sns.set_topic_attributes(TopicArn=topic, AttributeName=name, AttributeValue=value)
    feedback = {"LambdaSuccessFeedbackRoleArn": role, "LambdaSuccessFeedbackSampleRate": "100"}
    assert attributes_of(sns, topic) == {**before, **feedback}


@pytest.mark.covers("sns", "get-topic-attributes.policy-after-add-permission", "remove-permission.existing")
def test_a_permission_is_a_statement_behind_the_default_one(sns: Any, topic: str) -> None:
    before = json.loads(attributes_of(sns, topic)["Policy"])
    sns.add_permission(TopicArn=topic, Label="test", AWSAccountId=[ACCOUNT], ActionName=["Publish", "Subscribe"])
    found = json.loads(attributes_of(sns, topic)["Policy"])
    added = {
        "Sid": "test",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": ["SNS:Publish", "SNS:Subscribe"],
        "Resource": topic,
    }
    assert found == {**before, "Statement": [*before["Statement"], added]}
    sns.remove_permission(TopicArn=topic, Label="test")
    assert json.loads(attributes_of(sns, topic)["Policy"]) == before


@pytest.mark.covers(
    "sns",
    "subscribe.sqs-standard-queue-to-fifo-topic",
    "set-subscription-attributes.redrive-standard-dlq-on-standard-queue-sub-of-fifo-topic",
)
def test_a_standard_queue_and_its_dead_letter_queue_subscribe_to_a_fifo_topic(sns: Any, fifo_topic: str) -> None:
    arn = subscribed(sns, fifo_topic)
    change(sns, arn, "RedrivePolicy", {"deadLetterTargetArn": QUEUE + "dead"})
    found = subscription(sns, arn)
    assert (found["PendingConfirmation"], json.loads(found["RedrivePolicy"])) == (
        "false",
        {"deadLetterTargetArn": QUEUE + "dead"},
    )


@pytest.mark.covers(
    "sns", "set-subscription-attributes.filter-nested-with-body-scope", "subscribe.filter-anything-but-accepted"
)
def test_policies_that_are_accepted(sns: Any, topic: str) -> None:
    arn = subscribed(sns, topic, FilterPolicy=json.dumps({"key": [{"anything-but": {"prefix": "test-"}}]}))
    for values in (["test", "test2"], "test"):
        change(sns, arn, "FilterPolicy", {"key": [{"anything-but": values}]})
    change(sns, arn, "FilterPolicyScope", "MessageBody")
    change(sns, arn, "FilterPolicy", {"object": {"key": [{"prefix": "auto-"}]}})
    assert json.loads(subscription(sns, arn)["FilterPolicy"]) == {"object": {"key": [{"prefix": "auto-"}]}}


def many(count: int) -> list[str]:
    return [f"value{number}" for number in range(count)]


@pytest.mark.covers("sns", "subscribe.filter-complexity-or-accepted")
def test_a_policy_of_exactly_the_limit_is_accepted(sns: Any, topic: str) -> None:
    inner = [{"metricId": many(4)}, {"spaceId": many(7)}]
    policy = {"source": many(3), "$or": [{"metricName": many(6)}, {"metricType": many(4), "$or": inner}]}
    assert subscribed(sns, topic, FilterPolicy=json.dumps(policy))


@pytest.mark.covers(
    "sns",
    "subscribe.filter-complexity-or-flat",
    "subscribe.filter-complexity-or-nested",
    "subscribe.filter-complexity-one-key",
    "subscribe.filter-complexity-two-keys",
    "subscribe.filter-more-than-five-keys",
)
@pytest.mark.parametrize(
    ("entry", "scope", "policy"),
    [
        (
            "subscribe.filter-complexity-or-flat",
            "MessageAttributes",
            {
                "source": many(4),
                "$or": [
                    {"metricName": many(6)},
                    {"metricType": many(4), "$or": [{"metricId": many(4)}, {"spaceId": many(4)}]},
                ],
            },
        ),
        (
            "subscribe.filter-complexity-or-nested",
            "MessageBody",
            {
                "$or": [{"metricName": many(3)}, {"namespace": many(2)}],
                "detail": {"scope": many(2), "$or": [{"source": many(1)}, {"type": many(3)}]},
            },
        ),
        ("subscribe.filter-complexity-one-key", "MessageAttributes", {"key": many(151)}),
        ("subscribe.filter-complexity-two-keys", "MessageAttributes", {"one": many(100), "two": many(51)}),
        ("subscribe.filter-more-than-five-keys", "MessageAttributes", {f"key{n}": ["value"] for n in range(6)}),
    ],
)
def test_policies_that_are_too_much(sns: Any, topic: str, entry: str, scope: str, policy: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as refused:
        subscribed(sns, topic, FilterPolicyScope=scope, FilterPolicy=json.dumps(policy))
    expected = fact(entry).raw["then"]
    found = refused.value.response["Error"]
    assert {name: found[name] for name in expected["body"]} == expected["body"]
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == expected["status"]


@pytest.mark.covers("sns", "list-subscriptions-by-topic.pages-of-100", "list-subscriptions.all-topics")
def test_subscriptions_are_listed_by_hundreds(sns: Any, topic: str) -> None:
    arns = {
        sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint=f"+1555{number:07d}")["SubscriptionArn"] for number in range(101)
    }
    other = subscribed(sns, str(sns.create_topic(Name=unique("t"))["TopicArn"]))
    first = sns.list_subscriptions_by_topic(TopicArn=topic)
    second = sns.list_subscriptions_by_topic(TopicArn=topic, NextToken=first["NextToken"])
    pages = [{one["SubscriptionArn"] for one in page["Subscriptions"]} for page in (first, second)]
    assert [len(page) for page in pages] == [100, 1]
    assert "NextToken" not in second
    assert pages[0] | pages[1] == arns
    everywhere = sns.list_subscriptions()
    assert len(everywhere["Subscriptions"]) == 100
    found = {
        one["SubscriptionArn"] for page in sns.get_paginator("list_subscriptions").paginate() for one in page["Subscriptions"]
    }
    assert arns | {other} <= found
    for arn in arns:
        sns.unsubscribe(SubscriptionArn=arn)


@pytest.mark.covers("sns", "publish-batch.fifo-repeated")
@pytest.mark.parametrize("explicit", [True, False])
def test_a_batch_that_is_repeated_is_answered_as_the_first_time(sns: Any, fifo_topic: str, explicit: bool) -> None:
    entries = [
        {
            "Id": str(number),
            "Message": f"message {number}",
            "MessageGroupId": "group",
            **({"MessageDeduplicationId": f"id-{number}"} if explicit else {}),
        }
        for number in range(3)
    ]
    first, second = (sns.publish_batch(TopicArn=fifo_topic, PublishBatchRequestEntries=entries) for _ in range(2))
    assert first["Failed"] == second["Failed"] == []
    assert first["Successful"] == second["Successful"]
    numbers = [int(one["SequenceNumber"]) for one in first["Successful"]]
    assert numbers == sorted(set(numbers))


@pytest.mark.covers("sns", "set-platform-application-attributes.sample-rate")
def test_an_application_is_told_with_what_was_set(sns: Any) -> None:
    credentials = {"PlatformPrincipal": "id", "PlatformCredential": "secret"}
    made = sns.create_platform_application(Name=unique("app"), Platform="ADM", Attributes=credentials)
    arn = made["PlatformApplicationArn"]
    sns.set_platform_application_attributes(PlatformApplicationArn=arn, Attributes={"SuccessFeedbackSampleRate": "50"})
    found = sns.get_platform_application_attributes(PlatformApplicationArn=arn)["Attributes"]
    assert found == {"Enabled": "true", "SuccessFeedbackSampleRate": "50"}


@pytest.mark.covers("sns", "delete-endpoint.with-subscription")
def test_a_subscription_outlives_its_endpoint(sns: Any, topic: str) -> None:
    credentials = {"PlatformPrincipal": "id", "PlatformCredential": "secret"}
    application = sns.create_platform_application(Name=unique("app"), Platform="ADM", Attributes=credentials)
    endpoint = sns.create_platform_endpoint(PlatformApplicationArn=application["PlatformApplicationArn"], Token="token")
    arn = endpoint["EndpointArn"]
    made = sns.subscribe(TopicArn=topic, Protocol="application", Endpoint=arn)["SubscriptionArn"]
    expected = {"Endpoint": arn, "Owner": ACCOUNT, "Protocol": "application", "SubscriptionArn": made, "TopicArn": topic}
    for _ in range(2):
        assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == [expected]
        sns.delete_endpoint(EndpointArn=arn)


@pytest.mark.parametrize("policy", ["", "x", "[]", "{}", '{"Name": "n", "Version": "2021-06-01", "Statement": []}'])
def test_a_data_protection_policy_has_its_outer_form(sns: Any, topic: str, policy: str) -> None:
    good = {"Name": "n", "Version": "2021-06-01", "Statement": [{"Sid": "s"}]}
    sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=json.dumps(good))
    if policy:
        with pytest.raises(ClientError, match="Invalid parameter: DataProtectionPolicy Reason: "):
            sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=policy)
        assert json.loads(sns.get_data_protection_policy(ResourceArn=topic)["DataProtectionPolicy"]) == good
    else:
        sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy=policy)
        assert sns.get_data_protection_policy(ResourceArn=topic)["DataProtectionPolicy"] == ""


@pytest.mark.parametrize("key", ["aws:mine", "AWS:mine"])
def test_tags_of_aws_are_nobody_elses(sns: Any, topic: str, key: str) -> None:
    tags = [{"Key": key, "Value": "v"}]
    for asked in (
        lambda: sns.tag_resource(ResourceArn=topic, Tags=tags),
        lambda: sns.create_topic(Name=unique("t"), Tags=tags),
    ):
        with pytest.raises(ClientError, match="Invalid parameter: Tag keys must not begin with aws:"):
            asked()


def test_there_are_no_numbers_to_send_text_messages_from_or_to(sns: Any) -> None:
    assert sns.list_origination_numbers()["PhoneNumbers"] == []
    assert sns.list_sms_sandbox_phone_numbers()["PhoneNumbers"] == []
