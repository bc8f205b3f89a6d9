"""A topic on a whole cluster: a queue, a function and an address get what is published; a function's record and its dead letter
go to another topic."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.sns_world import Json, get
from tests.conformance.test_sns_addresses import TIME, UUID
from tests.e2e.conftest import MakeFunction
from tests.e2e.test_aws_cli import AWS, aws
from tests.integration.http_listener import Listener
from tests.support import wait_until

ACCOUNT = "000000000000"
FUNCTION, QUEUE = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:", f"arn:aws:sqs:us-east-1:{ACCOUNT}:"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener().listening() as found:
        yield found


@pytest.fixture
def sns(cluster: Any) -> Any:
    return cluster.client("sns")


def topic(sns: Any) -> str:
    return str(sns.create_topic(Name=f"t-{uuid.uuid4().hex[:10]}")["TopicArn"])


def told(sns: Any, listener: Listener) -> str:
    """A topic whose messages the listener gets."""
    arn = topic(sns)
    sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=f"{listener.address}/")
    assert get(listener.next().json["SubscribeURL"])[0] == 200
    return arn


def next_message(listener: Listener) -> Json:
    found: Json = json.loads(listener.next().json["Message"])
    return found


@pytest.mark.covers("sns", "deliver-lambda.record")
def test_a_function_gets_the_record_of_a_message(
    cluster: Any, sns: Any, client: Any, make_function: MakeFunction, listener: Listener
) -> None:
    records, orders = told(sns, listener), topic(sns)
    name = make_function("def handler(event, context):\n    return 'done'\n")
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": records}})
    made = sns.subscribe(TopicArn=orders, Protocol="lambda", Endpoint=FUNCTION + name)["SubscriptionArn"]
    assert sns.get_subscription_attributes(SubscriptionArn=made)["Attributes"]["PendingConfirmation"] == "false"
    published = sns.publish(TopicArn=orders, Subject="[Subject] Test subject", Message="Hello world.")
    [record] = next_message(listener)["requestPayload"]["Records"]
    notification = record.pop("Sns")
    assert record == {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": made}
    page = notification.pop("SigningCertUrl")
    assert get(page)[1].startswith("-----BEGIN CERTIFICATE-----")
    assert re.fullmatch(r"[A-Za-z0-9+/=]{344}", notification.pop("Signature"))
    assert re.fullmatch(TIME, notification.pop("Timestamp"))
    assert notification == {
        "Type": "Notification",
        "MessageId": published["MessageId"],
        "TopicArn": orders,
        "Subject": "[Subject] Test subject",
        "Message": "Hello world.",
        "SignatureVersion": "1",
        "UnsubscribeUrl": f"{cluster.endpoint}/?Action=Unsubscribe&SubscriptionArn={made}",
        "MessageAttributes": {},
    }
    sns.publish(TopicArn=orders, Message="no subject", MessageAttributes={"a": {"DataType": "Number", "StringValue": "1"}})
    [record] = next_message(listener)["requestPayload"]["Records"]
    assert record["Sns"]["Subject"] is None
    assert record["Sns"]["MessageAttributes"] == {"a": {"Type": "Number", "Value": "1"}}


@pytest.mark.covers("sns", "deliver-lambda.async-invocation")
def test_what_a_function_fails_on_is_its_own_dead_letter(
    sns: Any, client: Any, make_function: MakeFunction, listener: Listener
) -> None:
    dead, orders = told(sns, listener), topic(sns)
    name = make_function(
        "def handler(event, context):\n    raise ValueError('on purpose')\n", DeadLetterConfig={"TargetArn": dead}
    )
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    sns.subscribe(TopicArn=orders, Protocol="lambda", Endpoint=FUNCTION + name)
    sns.publish(TopicArn=orders, Message="text")
    document = listener.next().json
    assert json.loads(document["Message"])["Records"][0]["Sns"]["Message"] == "text"
    attributes = document["MessageAttributes"]
    assert re.fullmatch(UUID, attributes["RequestID"].pop("Value"))
    assert attributes == {
        "RequestID": {"Type": "String"},
        "ErrorCode": {"Type": "Number", "Value": "200"},
        "ErrorMessage": {"Type": "String", "Value": "on purpose"},
    }


@pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli")
def test_the_cli_makes_a_topic_and_what_it_publishes_reaches_a_queue_by_its_filter(cluster: Any) -> None:
    name = f"cli-{uuid.uuid4().hex[:10]}"
    arn = aws(cluster, "create-topic", "--name", name, "--tags", "Key=team,Value=orders", service="sns")["TopicArn"]
    sqs = cluster.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = {"RawMessageDelivery": "true", "FilterPolicy": json.dumps({"amount": [{"numeric": [">", 100]}]})}
    aws(
        cluster, "subscribe", "--topic-arn", arn, "--protocol", "sqs", "--notification-endpoint", QUEUE + name,
        "--attributes", json.dumps(attributes), service="sns",
    )  # fmt: skip
    for text, amount in (("small", "1"), ("large", "200")):
        value = json.dumps({"amount": {"DataType": "Number", "StringValue": amount}})
        aws(cluster, "publish", "--topic-arn", arn, "--message", text, "--message-attributes", value, service="sns")
    found: list[str] = []

    def received() -> bool:
        reply = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"])
        found.extend(message["Body"] for message in reply.get("Messages", []))
        return bool(found)

    wait_until(received, what="the message arrives")
    assert found == ["large"]
    assert aws(cluster, "list-tags-for-resource", "--resource-arn", arn, service="sns")["Tags"] == [
        {"Key": "team", "Value": "orders"}
    ]
    refused = aws(cluster, "publish", "--topic-arn", f"{arn}-gone", "--message", "x", service="sns", ok=False)
    assert "An error occurred (NotFound) when calling the Publish operation: Topic does not exist" in refused
    aws(cluster, "delete-topic", "--topic-arn", arn, service="sns")
