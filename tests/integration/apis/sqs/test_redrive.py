"""Dead-letter queues as boto3 sees them: who may have which, what comes to them, and its way back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.apis.sqs.conftest import Sqs, arn
from tests.support import PATIENCE_S


def policy(target: str, receives: Any = 1) -> str:
    return json.dumps({"deadLetterTargetArn": arn(target), "maxReceiveCount": receives})


async def test_dead_letters_go_to_their_queue_and_sources_are_listed(sqs_api: Sqs) -> None:
    dead = await sqs_api.queue()
    sources = [await sqs_api.queue(RedrivePolicy=policy(dead), VisibilityTimeout="0") for _ in range(3)]
    await sqs_api("SendMessage", QueueUrl=sources[0], MessageBody="poison")
    assert await sqs_api.bodies(sources[0]) == ["poison"]
    assert await sqs_api.bodies(sources[0]) == []
    [letter] = (await sqs_api("ReceiveMessage", QueueUrl=dead, MessageSystemAttributeNames=["All"]))["Messages"]
    assert (letter["Body"], letter["Attributes"]["DeadLetterQueueSourceArn"]) == ("poison", arn(sources[0]))
    found = await sqs_api("ListDeadLetterSourceQueues", QueueUrl=dead, MaxResults=2)
    further = await sqs_api("ListDeadLetterSourceQueues", QueueUrl=dead, MaxResults=2, NextToken=found["NextToken"])
    assert sorted(found["queueUrls"] + further["queueUrls"]) == sorted(sources)
    await sqs_api("SetQueueAttributes", QueueUrl=sources[0], Attributes={"RedrivePolicy": ""})
    left = await sqs_api("ListDeadLetterSourceQueues", QueueUrl=dead)
    assert sorted(left["queueUrls"]) == sorted(sources[1:])
    assert await sqs_api("ListDeadLetterSourceQueues", QueueUrl=sources[0]) == {"queueUrls": []}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", "Redrive policy is not a valid JSON map."),
        ("[]", "Redrive policy is not a valid JSON map."),
        ('{"maxReceiveCount":1}', "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
        ('{"deadLetterTargetArn":"x"}', "Redrive policy does not contain mandatory attribute: maxReceiveCount."),
        (
            '{"deadLetterTargetArn":"x","maxReceiveCount":0}',
            "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.",
        ),
        ('{"deadLetterTargetArn":"x","maxReceiveCount":1}', "Dead-letter target ARN should be fully qualified ARN."),
        (
            '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":1}',
            "Dead letter target does not exist.",
        ),
        (
            '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q.fifo","maxReceiveCount":1}',
            "Dead-letter queue must be same type of queue as the source..",
        ),
        (
            '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:111111111111:q","maxReceiveCount":1}',
            "Dead-letter target owner should be same as the source.",
        ),
    ],
)
async def test_a_redrive_policy_that_cannot_be_is_refused(sqs_api: Sqs, text: str, reason: str) -> None:
    url = await sqs_api.queue()
    assert await sqs_api.refused("SetQueueAttributes", QueueUrl=url, Attributes={"RedrivePolicy": text}) == (
        "InvalidParameterValue",
        f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}",
    )


async def test_a_dead_letter_queue_says_whose_it_is(sqs_api: Sqs) -> None:
    source = await sqs_api.queue()
    open_to_all = {"redrivePermission": "allowAll"}
    for permission, works in (
        ({"redrivePermission": "denyAll"}, False),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [arn(source) + "-other"]}, False),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [arn(source)]}, True),
        (open_to_all, True),
    ):
        dead = await sqs_api.queue(RedriveAllowPolicy=json.dumps(permission))
        setting = {"QueueUrl": source, "Attributes": {"RedrivePolicy": policy(dead)}}
        if works:
            await sqs_api("SetQueueAttributes", **setting)
        else:
            assert (await sqs_api.refused("SetQueueAttributes", **setting))[0] == "InvalidParameterValue"
    for bad in ("x", '{"redrivePermission":"byQueue"}', '{"redrivePermission":"denyAll","sourceQueueArns":["x"]}'):
        error = await sqs_api.refused("SetQueueAttributes", QueueUrl=dead, Attributes={"RedriveAllowPolicy": bad})
        assert "RedriveAllowPolicy" in error[1]
    found = await sqs_api("GetQueueAttributes", QueueUrl=dead, AttributeNames=["RedriveAllowPolicy"])
    assert json.loads(found["Attributes"]["RedriveAllowPolicy"]) == open_to_all


async def test_a_task_that_cannot_be_is_refused(sqs_api: Sqs) -> None:
    dead = await sqs_api.queue()
    await sqs_api.queue(RedrivePolicy=policy(dead))
    for params, error in (
        ({"MaxNumberOfMessagesPerSecond": 0}, ("InvalidParameterValue", "Value for parameter MaxNumberOfMessagesPerSecond is")),
        (
            {"MaxNumberOfMessagesPerSecond": 501},
            ("InvalidParameterValue", "Value for parameter MaxNumberOfMessagesPerSecond is"),
        ),
        (
            {"DestinationArn": arn(await sqs_api.queue(fifo=True))},
            ("InvalidParameterValue", "Source and destination queue must be of the same type."),
        ),
        (
            {"SourceArn": "none"},
            ("InvalidParameterValue", "You must use this format to specify the SourceArn: arn:<partition>:"),
        ),
        (
            {"SourceArn": arn(dead) + "-none"},
            ("ResourceNotFoundException", "The resource that you specified for the SourceArn"),
        ),
        (
            {"SourceArn": arn(dead, "eu-west-1")},
            ("ResourceNotFoundException", "The resource that you specified for the SourceArn"),
        ),
    ):
        code, text = await sqs_api.refused("StartMessageMoveTask", **{"SourceArn": arn(dead), **params})
        assert (code, text[: len(error[1])]) == error
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(10)]
    for _ in range(3):
        await sqs_api("SendMessageBatch", QueueUrl=dead, Entries=entries)
    # It takes a while: one message a second.
    slowly = {"SourceArn": arn(dead), "DestinationArn": arn(await sqs_api.queue()), "MaxNumberOfMessagesPerSecond": 1}
    handle = (await sqs_api("StartMessageMoveTask", **slowly))["TaskHandle"]
    assert await sqs_api.refused("StartMessageMoveTask", **slowly) == (
        "InvalidParameterValue",
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
    )
    await sqs_api("CancelMessageMoveTask", TaskHandle=handle)
    async with asyncio.timeout(PATIENCE_S):
        while (await sqs_api("ListMessageMoveTasks", SourceArn=arn(dead)))["Results"][0]["Status"] != "CANCELLED":
            pass
    assert (await sqs_api.refused("CancelMessageMoveTask", TaskHandle=handle))[0] == "ResourceNotFoundException"
