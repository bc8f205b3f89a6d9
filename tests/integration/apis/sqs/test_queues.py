"""Queues as boto3 sees them: made, found, changed, deleted."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from shared.aws import page_tokens
from tests.integration.apis.sqs.conftest import Sqs, arn

MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")


async def test_of_two_who_make_the_same_queue_at_once_both_have_it(sqs_api: Sqs) -> None:
    name = f"q-{uuid.uuid4().hex}"
    made = await asyncio.gather(*(sqs_api("CreateQueue", QueueName=name, Attributes={"DelaySeconds": "3"}) for _ in range(8)))
    assert {found["QueueUrl"] for found in made} == {f"{sqs_api.frontend.url}/000000000000/{name}"}


async def test_a_queue_that_was_deleted_is_gone_with_its_messages_and_its_name_waits_a_minute(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    await sqs_api("SendMessage", QueueUrl=url, MessageBody="lost")
    await sqs_api("DeleteQueue", QueueUrl=url)
    for operation, params in {
        "SendMessage": {"MessageBody": "x"},
        "ReceiveMessage": {},
        "DeleteMessage": {"ReceiptHandle": "x"},
        "GetQueueAttributes": {"AttributeNames": ["All"]},
        "SetQueueAttributes": {"Attributes": {"DelaySeconds": "1"}},
        "PurgeQueue": {},
        "DeleteQueue": {},
        "TagQueue": {"Tags": {"a": "b"}},
        "ListQueueTags": {},
        "ListDeadLetterSourceQueues": {},
    }.items():
        assert await sqs_api.refused(operation, QueueUrl=url, **params) == MISSING
    assert await sqs_api.refused("CreateQueue", QueueName=url.rpartition("/")[2]) == (
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    )
    async with sqs_api.context.registry.write() as connection:
        await connection.exec_driver_sql("UPDATE deleted_queues SET deleted_ms = deleted_ms - 61000")
    made = await sqs_api("CreateQueue", QueueName=url.rpartition("/")[2])
    assert made["QueueUrl"] == url
    assert await sqs_api.bodies(url) == []


@pytest.mark.parametrize(
    ("name", "attributes", "error"),
    [
        (
            "",
            {},
            ("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
        ),
        (
            "q" * 81,
            {},
            ("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
        ),
        (
            "a.b",
            {},
            ("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
        ),
        (
            "q.fifo",
            {},
            ("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
        ),
        (
            "q",
            {"FifoQueue": "true"},
            (
                "InvalidParameterValue",
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with "
                ".fifo suffix and be 1 to 80 in length.",
            ),
        ),
        ("q", {"FifoQueue": "false"}, ("InvalidAttributeName", "Unknown Attribute FifoQueue.")),
        ("q", {"Colour": "red"}, ("InvalidAttributeName", "Unknown Attribute Colour.")),
        ("q", {"QueueArn": "x"}, ("InvalidAttributeName", "Unknown Attribute QueueArn.")),
        ("q", {"DelaySeconds": "901"}, ("InvalidAttributeValue", "Invalid value for the parameter DelaySeconds.")),
        ("q", {"MaximumMessageSize": "1023"}, ("InvalidAttributeValue", "Invalid value for the parameter MaximumMessageSize.")),
        ("q", {"VisibilityTimeout": "x"}, ("InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout.")),
        (
            "q",
            {"DeduplicationScope": "queue"},
            ("InvalidAttributeName", "You can specify the DeduplicationScope only when FifoQueue is set to true."),
        ),
        (
            "q.fifo",
            {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"},
            (
                "InvalidAttributeValue",
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
            ),
        ),
        ("q", {"Policy": "{"}, ("InvalidAttributeValue", "Invalid value for the parameter Policy.")),
    ],
)
async def test_a_queue_that_cannot_be_is_not_made(
    sqs_api: Sqs, name: str, attributes: dict[str, str], error: tuple[str, str]
) -> None:
    assert await sqs_api.refused("CreateQueue", QueueName=name, Attributes=attributes) == error


async def test_queues_are_listed_by_their_beginning_and_in_pages(sqs_api: Sqs) -> None:
    prefix = f"p-{uuid.uuid4().hex[:8]}"
    names = [f"{prefix}_{number}" for number in range(5)]
    for name in names:
        await sqs_api("CreateQueue", QueueName=name)
    await sqs_api("CreateQueue", QueueName=f"{prefix}x")
    found, token = [], None
    for _ in range(3):
        further = {} if token is None else {"NextToken": token}
        page = await sqs_api("ListQueues", QueueNamePrefix=f"{prefix}_", MaxResults=2, **further)
        found += page["QueueUrls"]
        token = page.get("NextToken")
    assert token is None
    assert [url.rpartition("/")[2] for url in found] == names
    assert await sqs_api("ListQueues", QueueNamePrefix=f"{prefix}y") == {}
    assert (await sqs_api.refused("ListQueues", MaxResults=1001))[0] == "InvalidParameterValue"
    for token in ("?", page_tokens.encode("\x00"), page_tokens.encode(1)):
        assert (await sqs_api.refused("ListQueues", MaxResults=1, NextToken=token))[1] == "Invalid or expired next token."
    assert (await sqs_api.refused("ListQueues", NextToken="?"))[1] == (
        "MaxResults is a mandatory parameter when you provide a value for NextToken."
    )


async def test_a_queue_of_one_region_is_not_in_another(sqs_api: Sqs) -> None:
    name = f"q-{uuid.uuid4().hex}"
    here = (await sqs_api("CreateQueue", QueueName=name))["QueueUrl"]
    assert (await sqs_api.refused("GetQueueUrl", region="eu-west-1", QueueName=name)) == MISSING
    there = (await sqs_api("CreateQueue", "eu-west-1", QueueName=name))["QueueUrl"]
    assert there == here
    await sqs_api("SendMessage", "eu-west-1", QueueUrl=there, MessageBody="there")
    assert await sqs_api.bodies(here) == []
    assert await sqs_api.bodies(there, region="eu-west-1") == ["there"]
    found = await sqs_api("GetQueueAttributes", "eu-west-1", QueueUrl=there, AttributeNames=["QueueArn"])
    assert found["Attributes"]["QueueArn"] == arn(there, "eu-west-1")


async def test_a_url_with_another_host_is_understood_and_one_of_another_kind_is_not(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    name = url.rpartition("/")[2]
    for form in (f"https://sqs.us-east-1.amazonaws.com/000000000000/{name}", f"http://x:1/queue/000000000000/{name}", name):
        assert "MessageId" in await sqs_api("SendMessage", QueueUrl=form, MessageBody="x")
    assert await sqs_api.refused("SendMessage", QueueUrl=f"http://x/111111111111/{name}", MessageBody="x") == MISSING
    assert await sqs_api.refused("SendMessage", QueueUrl="http://x/nothing", MessageBody="x") == (
        "InvalidAddress",
        "The address http://x/nothing is not valid for this endpoint.",
    )
    assert await sqs_api.refused("SendMessage", MessageBody="x") == (
        "MissingParameter",
        "The request must contain the parameter QueueUrl.",
    )
    assert await sqs_api.refused("GetQueueUrl", QueueName=name, QueueOwnerAWSAccountId="111111111111") == (
        MISSING[0],
        "The specified queue does not exist or you do not have access to it.",
    )


async def test_tags_are_kept_merged_and_taken_away(sqs_api: Sqs) -> None:
    url = await sqs_api.queue(tags={"a": "1", "b": "2"})
    await sqs_api("TagQueue", QueueUrl=url, Tags={"b": "3", "c": ""})
    await sqs_api("UntagQueue", QueueUrl=url, TagKeys=["a", "none"])
    assert await sqs_api("ListQueueTags", QueueUrl=url) == {"Tags": {"b": "3", "c": ""}}
    assert await sqs_api("ListQueueTags", QueueUrl=await sqs_api.queue()) == {}
    many = {f"key{number}": "" for number in range(51)}
    assert await sqs_api.refused("TagQueue", QueueUrl=url, Tags=many) == (
        "InvalidParameterValue",
        f"Too many tags added for queue {url.rpartition('/')[2]}.",
    )
    assert await sqs_api("ListQueueTags", QueueUrl=url) == {"Tags": {"b": "3", "c": ""}}


async def test_permissions_are_statements_of_the_policy(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    permission = {"QueueUrl": url, "AWSAccountIds": ["111111111111"], "Actions": ["SendMessage"]}
    await sqs_api("AddPermission", Label="one", **permission)
    await sqs_api(
        "AddPermission",
        QueueUrl=url,
        Label="two",
        AWSAccountIds=["111111111111", "222222222222"],
        Actions=["*", "ReceiveMessage"],
    )
    found = await sqs_api("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"])
    assert json.loads(found["Attributes"]["Policy"]) == {
        "Version": "2008-10-17",
        "Id": f"{arn(url)}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "one",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": "SQS:SendMessage",
                "Resource": arn(url),
            },
            {
                "Sid": "two",
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam::111111111111:root", "arn:aws:iam::222222222222:root"]},
                "Action": ["SQS:*", "SQS:ReceiveMessage"],
                "Resource": arn(url),
            },
        ],
    }
    assert await sqs_api.refused("AddPermission", Label="one", **permission) == (
        "InvalidParameterValue",
        "Value one for parameter Label is invalid. Reason: Already exists.",
    )
    assert (await sqs_api.refused("AddPermission", Label="x", **{**permission, "Actions": ["CreateQueue"]}))[1] == (
        "Value SQS:CreateQueue for parameter ActionName is invalid. "
        "Reason: Only the queue owner is allowed to invoke this action."
    )
    for accounts, shown in (([], "[]"), (["111111111111", "me"], "[111111111111, me]")):
        assert (await sqs_api.refused("AddPermission", Label="x", **{**permission, "AWSAccountIds": accounts}))[1] == (
            f"Value {shown} for parameter PrincipalId is invalid. Reason: Unable to verify."
        )
    await sqs_api("RemovePermission", QueueUrl=url, Label="one")
    await sqs_api("RemovePermission", QueueUrl=url, Label="two")
    assert await sqs_api("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"]) == {}
    assert await sqs_api.refused("RemovePermission", QueueUrl=url, Label="one") == (
        "InvalidParameterValue",
        "Value one for parameter Label is invalid. Reason: can't find label on existing policy.",
    )


async def test_what_the_engine_missed_it_is_told_when_the_queue_is_looked_at(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    name = url.rpartition("/")[2]
    await sqs_api("SendMessage", QueueUrl=url, MessageBody="x")
    async with sqs_api.context.registry.write() as connection:
        # As when a frontend is killed between its commit and its word to the engine.
        await connection.exec_driver_sql(
            f"UPDATE queues SET revision = nextval('registry_revision'), attributes = '{{\"MaximumMessageSize\": \"1024\"}}' "
            f"WHERE name = '{name}'"
        )
    await sqs_api("SendMessage", QueueUrl=url, MessageBody="x" * 2000)
    await sqs_api("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])
    assert (await sqs_api.refused("SendMessage", QueueUrl=url, MessageBody="x" * 2000))[0] == "InvalidParameterValue"
