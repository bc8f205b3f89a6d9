"""Attempts, destinations and dead letters as they were recorded of AWS, through the front door."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.e2e.conftest import MakeFunction
from tests.e2e.test_asynchronous import QUEUE, messages, streams
from tests.support import wait_until

__all__ = ["streams"]
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
TOLD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SOURCE = """
import os
def handler(event, context):
    if event.get("exit"):
        os._exit(3)
    if event.get("raise_error"):
        raise Exception("Test exception (this is intentional)")
    return {"event": event, "context": {
        "aws_request_id": context.aws_request_id, "invoked_function_arn": context.invoked_function_arn,
        "function_version": context.function_version, "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name, "client_context": context.client_context}}
"""


def queue() -> str:
    return f"told-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="module")
def lenient(cluster: Any) -> Any:
    """A client that checks nothing itself."""
    return boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


def record_of(streams: Any, name: str) -> dict[str, Any]:
    [message] = wait_until(lambda: messages(streams, name), what=f"the record in {name}")
    found: dict[str, Any] = json.loads(message["body"])
    assert TOLD.fullmatch(found.pop("timestamp"))
    return found


@pytest.mark.covers(
    "events",
    "async-success-count",
    "async-context-seen-by-function",
    "async-client-context-sync-only",
    "async-request-id-constant",
    "dest-sqs-success-record",
)
def test_the_record_of_a_success(client: Any, make_function: MakeFunction, streams: Any) -> None:
    name, told = make_function(SOURCE), queue()
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": QUEUE + told}})
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}", ClientContext="eyJjdXN0b20iOnt9fQ==")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert record_of(streams, told) == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{ARN}{name}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {
            "event": {},
            "context": {
                "aws_request_id": request_id,
                "invoked_function_arn": f"{ARN}{name}",
                "function_version": "$LATEST",
                "memory_limit_in_mb": "128",
                "log_group_name": f"/aws/lambda/{name}",
                "client_context": None,
            },
        },
    }


@pytest.mark.covers(
    "events",
    "async-zero-retries",
    "dest-sqs-failure-record",
    "dest-and-dlq-together",
    "dlq-sqs-message",
    "dlq-attribute-rules",
    "dlq-config-echo",
    "dlq-scope",
)
def test_the_record_and_the_dead_letter_of_a_failure(client: Any, make_function: MakeFunction, streams: Any) -> None:
    told, dead = queue(), queue()
    name = make_function(SOURCE, Publish=True, DeadLetterConfig={"TargetArn": QUEUE + dead})
    assert client.get_function_configuration(FunctionName=name)["DeadLetterConfig"] == {"TargetArn": QUEUE + dead}
    for qualifier in ("$LATEST", "1"):
        client.put_function_event_invoke_config(
            FunctionName=name,
            Qualifier=qualifier,
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": QUEUE + told}},
        )
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"raise_error": 1}')
    request_id = answer["ResponseMetadata"]["RequestId"]
    record = record_of(streams, told)
    [line] = record["responsePayload"].pop("stackTrace")
    assert 'raise Exception("Test exception (this is intentional)")' in line
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{ARN}{name}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"raise_error": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {
            "errorMessage": "Test exception (this is intentional)",
            "errorType": "Exception",
            "requestId": request_id,
        },
    }
    [letter] = wait_until(lambda: messages(streams, dead), what="the dead letter")
    assert letter["body"] == '{"raise_error": 1}'
    assert json.loads(letter["attributes"]) == {
        "RequestID": {"DataType": "String", "StringValue": request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "Test exception (this is intentional)"},
    }
    # The dead-letter queue is the function's: where it is changed, it is for the versions that were published before, too.
    other = queue()
    client.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": QUEUE + other})
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    client.invoke(FunctionName=name, Qualifier="1", InvocationType="Event", Payload=b'{"raise_error": 2}')
    [letter] = wait_until(lambda: messages(streams, other), what="the dead letter of the version")
    assert letter["body"] == '{"raise_error": 2}'


@pytest.mark.covers(
    "events",
    "async-put-config-response",
    "async-put-replaces-update-merges",
    "async-config-operations",
    "async-retry-bounds",
    "async-age-bounds",
    "dest-arn-constraint",
)
def test_the_configuration_of_asynchronous_invocations(client: Any, lenient: Any, make_function: MakeFunction) -> None:
    name, told = make_function(SOURCE), QUEUE + queue()
    both = {"OnFailure": {"Destination": told}, "OnSuccess": {"Destination": told}}

    def plain(answer: dict[str, Any], status: int = 200) -> dict[str, Any]:
        assert answer.pop("ResponseMetadata")["HTTPStatusCode"] == status
        answer.pop("LastModified", None)
        return answer

    put = plain(client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, DestinationConfig=both))
    assert put == {"DestinationConfig": both, "FunctionArn": f"{ARN}{name}:$LATEST", "MaximumRetryAttempts": 0}
    updated = plain(client.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60))
    assert updated == {**put, "MaximumEventAgeInSeconds": 60}
    emptied = plain(
        client.update_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": ""}})
    )
    assert emptied["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": told}}
    replaced = plain(client.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=21_600))
    unset = {"OnSuccess": {}, "OnFailure": {}}
    assert replaced == {
        "DestinationConfig": unset, "FunctionArn": f"{ARN}{name}:$LATEST", "MaximumEventAgeInSeconds": 21_600
    }  # fmt: skip
    assert plain(client.get_function_event_invoke_config(FunctionName=name)) == replaced
    [listed] = plain(client.list_function_event_invoke_configs(FunctionName=name))["FunctionEventInvokeConfigs"]
    listed.pop("LastModified")
    assert listed == replaced
    for wrong in (
        {"MaximumRetryAttempts": -1},
        {"MaximumRetryAttempts": 3},
        {"MaximumEventAgeInSeconds": 59},
        {"MaximumEventAgeInSeconds": 21_601},
        {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:sqs:us-east-1:000000000000:" + "q" * 350}}},
    ):
        with pytest.raises(client.exceptions.ClientError) as refused:
            lenient.put_function_event_invoke_config(FunctionName=name, **wrong)
        assert refused.value.response["Error"]["Code"] == "ValidationException", wrong
    plain(client.delete_function_event_invoke_config(FunctionName=name), 204)


@pytest.mark.covers("events", "async-zero-reserved-concurrency")
def test_without_concurrency_nothing_runs_and_the_event_is_kept(client: Any, make_function: MakeFunction, streams: Any) -> None:
    told, dead = queue(), queue()
    name = make_function(SOURCE, DeadLetterConfig={"TargetArn": QUEUE + dead})
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": QUEUE + told}})
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    record = record_of(streams, told)
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert record["requestPayload"] == {"n": 1}
    assert "responsePayload" not in record
    [letter] = wait_until(lambda: messages(streams, dead), what="the dead letter")
    assert letter["body"] == '{"n": 1}'


@pytest.fixture(scope="module")
def service(cluster: Any) -> Callable[[str], Any]:
    def client_of(name: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=cluster.endpoint,
            region_name="us-east-1",
            aws_access_key_id=cluster.access_key_id,
            aws_secret_access_key=cluster.secret_access_key,
        )

    return client_of


@pytest.mark.covers("events", "event-eventbridge-lambda-result", "dest-eventbridge-success-event", "dest-record-by-target")
def test_a_bus_is_told_and_its_rules_pass_the_event_on(
    client: Any, make_function: MakeFunction, service: Callable[[str], Any]
) -> None:
    events, sqs, told = service("events"), service("sqs"), queue()
    bus = events.create_event_bus(Name=told)["EventBusArn"]
    url = sqs.create_queue(QueueName=told)["QueueUrl"]
    events.put_rule(Name="all", EventBusName=told, EventPattern='{"source": ["lambda"]}')
    events.put_targets(Rule="all", EventBusName=told, Targets=[{"Id": "q", "Arn": QUEUE + told}])
    name = make_function("def handler(event, context):\n    return {'hello': 'world', 'val': 5}\n")
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": bus}})
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"mode": "success"}')
    [message] = wait_until(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages"), what="the event in the queue"
    )
    event = json.loads(message["Body"])
    assert TOLD.fullmatch(event["detail"].pop("timestamp"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event.pop("time"))
    assert uuid.UUID(event.pop("id"))
    assert event == {
        "version": "0",
        "detail-type": "Lambda Function Invocation Result - Success",
        "source": "lambda",
        "account": "000000000000",
        "region": "us-east-1",
        "resources": [bus, f"{ARN}{name}:$LATEST"],
        "detail": {
            "version": "1.0",
            "requestContext": {
                "requestId": answer["ResponseMetadata"]["RequestId"],
                "functionArn": f"{ARN}{name}:$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"mode": "success"},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"hello": "world", "val": 5},
        },
    }
    sqs.delete_queue(QueueUrl=url)
    events.remove_targets(Rule="all", EventBusName=told, Ids=["q"])
    events.delete_rule(Name="all", EventBusName=told)
    events.delete_event_bus(Name=told)


@pytest.mark.covers("events", "event-sns")
def test_a_topic_invokes_a_function_with_its_event(
    client: Any, make_function: MakeFunction, service: Callable[[str], Any], streams: Any
) -> None:
    sns, told = service("sns"), queue()
    name = make_function("def handler(event, context):\n    return event\n")
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": QUEUE + told}})
    topic = sns.create_topic(Name=told)["TopicArn"]
    subscription = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=f"{ARN}{name}", ReturnSubscriptionArn=True)
    attributes = {"Test": {"DataType": "String", "StringValue": "TestString"}}
    sent = sns.publish(TopicArn=topic, Message="Hello from SNS!", Subject="TestInvoke", MessageAttributes=attributes)
    [told_of] = record_of(streams, told)["requestPayload"]["Records"]
    message = told_of.pop("Sns")
    assert told_of == {
        "EventVersion": "1.0", "EventSubscriptionArn": subscription["SubscriptionArn"], "EventSource": "aws:sns"
    }  # fmt: skip
    assert message["MessageId"] == sent["MessageId"]
    assert (message["Type"], message["Subject"], message["Message"]) == ("Notification", "TestInvoke", "Hello from SNS!")
    assert message["MessageAttributes"] == {"Test": {"Type": "String", "Value": "TestString"}}
    assert {"SignatureVersion", "Timestamp", "Signature", "SigningCertUrl", "UnsubscribeUrl", "TopicArn"} < message.keys()
    sns.delete_topic(TopicArn=topic)
