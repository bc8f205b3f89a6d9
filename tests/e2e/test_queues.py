"""Queues through the front door: dead letters and their way back, and a function that sends from its sandbox."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.support import wait_until

SENDER = """
import boto3

sqs = boto3.client("sqs")


def handler(event, context):
    url = sqs.get_queue_url(QueueName=event["queue"])["QueueUrl"]
    return sqs.send_message(QueueUrl=url, MessageBody=event["body"])["MessageId"]
"""


def new_queue(sqs: Any, **attributes: str) -> tuple[str, str, str]:
    """(name, URL, ARN)."""
    name = f"q-{uuid.uuid4().hex[:10]}"
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return name, url, f"arn:aws:sqs:us-east-1:000000000000:{name}"


def test_dead_letters_go_away_and_come_back(cluster: Cluster) -> None:
    sqs = cluster.client("sqs")
    _, dead_url, dead_arn = new_queue(sqs)
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
    _, url, _ = new_queue(sqs, RedrivePolicy=policy, VisibilityTimeout="0")
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    [letter] = sqs.receive_message(QueueUrl=dead_url, VisibilityTimeout=0, WaitTimeSeconds=10)["Messages"]
    assert letter["Body"] == "poison"
    sqs.start_message_move_task(SourceArn=dead_arn)
    [back] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert back["Body"] == "poison"
    wait_until(
        lambda: sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"][0]["Status"] == "COMPLETED", what="the task ends"
    )


def test_a_function_sends_to_a_queue_from_its_sandbox(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    sqs = cluster.client("sqs")
    queue, url, _ = new_queue(sqs)
    name = make_function(SENDER)
    answer = client.invoke(FunctionName=name, Payload=json.dumps({"queue": queue, "body": "from inside"}))
    told = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, told
    received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MessageSystemAttributeNames=["SenderId"])
    [message] = received["Messages"]
    assert (message["Body"], message["MessageId"]) == ("from inside", told)
    assert message["Attributes"]["SenderId"].endswith(f":{name}"), "a session of its role that is named like the function"
