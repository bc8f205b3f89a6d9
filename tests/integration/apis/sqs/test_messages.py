"""Messages as boto3 sees them: sent, received, deleted, made visible."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.integration.apis.sqs.conftest import Sqs
from tests.integration.frontend.conftest import KEY, SECRET
from tests.support import PATIENCE_S, wait_until


async def test_a_message_is_sent_received_and_deleted(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    sent = await sqs_api("SendMessage", QueueUrl=url, MessageBody="hello")
    assert sent["MD5OfMessageBody"] == "5d41402abc4b2a76b9719d911017c592"
    [message] = (await sqs_api("ReceiveMessage", QueueUrl=url))["Messages"]
    assert (message["Body"], message["MessageId"]) == ("hello", sent["MessageId"])
    await sqs_api("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    counts = await sqs_api("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])
    assert counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"


async def test_attributes_of_all_types_come_back_as_they_were_and_as_they_are_asked_for(sqs_api: Sqs) -> None:
    url = await sqs_api.queue(VisibilityTimeout="0")
    attributes = {
        "text": {"DataType": "String", "StringValue": "ü\t\U0001f600"},
        "number.int": {"DataType": "Number.int", "StringValue": "-1.5e3"},
        "number.other": {"DataType": "Number", "StringValue": "7"},
        "bytes": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "some-trace-id"}}
    # boto3 compares the MD5s of body and attributes with its own.
    sent = await sqs_api(
        "SendMessage", QueueUrl=url, MessageBody="x", MessageAttributes=attributes, MessageSystemAttributes=trace
    )
    assert sent["MD5OfMessageSystemAttributes"] == "fdce4f2818803f2f73becc09a54792c0"
    for names, expected in {
        ("All",): set(attributes),
        (".*",): set(attributes),
        ("number.*",): {"number.int", "number.other"},
        ("nu.*", "none"): {"number.int", "number.other"},
        ("*",): set(attributes),
        ("text", "none"): {"text"},
    }.items():
        [message] = (await sqs_api("ReceiveMessage", QueueUrl=url, MessageAttributeNames=list(names)))["Messages"]
        assert message["MessageAttributes"] == {name: attributes[name] for name in expected}
    [message] = (await sqs_api("ReceiveMessage", QueueUrl=url, MessageAttributeNames=["none"]))["Messages"]
    assert "MessageAttributes" not in message
    assert "MD5OfMessageAttributes" not in message


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"MessageBody": ""}, ("MissingParameter", "The request must contain the parameter MessageBody.")),
        ({"MessageBody": "a\ufffe"}, ("InvalidMessageContents", "Invalid characters found. Valid unicode characters are")),
        ({"DelaySeconds": 901}, ("InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid.")),
        (
            {"MessageDeduplicationId": "x"},
            ("InvalidParameterValue", "Value x for parameter MessageDeduplicationId is invalid."),
        ),
        ({"MessageAttributes": {"a": {}}}, ("InvalidParameterValue", "The message (user) attribute 'a' must contain")),
        (
            {"MessageAttributes": {"a": {"DataType": "String", "StringValue": "a\x08"}}},
            ("InvalidParameterValue", "Invalid characters found. Valid unicode characters are"),
        ),
        (
            {"MessageAttributes": {"a": {"DataType": "Text", "StringValue": "x"}}},
            ("InvalidParameterValue", "The type of message (user) attribute 'a' is invalid."),
        ),
        (
            {"MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}},
            ("InvalidParameterValue", "Can't cast the value of message (user) attribute 'a' to a number."),
        ),
        (
            {"MessageAttributes": {"AWS.a": {"DataType": "String", "StringValue": "x"}}},
            ("InvalidParameterValue", "You can't use message attribute names beginning with 'AWS.'"),
        ),
        (
            {"MessageAttributes": {f"a{number}": {"DataType": "String", "StringValue": "x"} for number in range(11)}},
            ("InvalidParameterValue", "Number of message attributes [11] exceeds the allowed maximum [10]."),
        ),
        (
            {"MessageSystemAttributes": {"Other": {"DataType": "String", "StringValue": "x"}}},
            ("InvalidParameterValue", "Message system attribute name 'Other' is invalid."),
        ),
        ({"DelaySeconds": "soon"}, ("MalformedInput", "STRING_VALUE can not be converted to an Integer")),
    ],
)
async def test_a_message_that_cannot_be_is_refused_and_in_a_batch_it_alone(
    sqs_api: Sqs, params: dict[str, Any], error: tuple[str, str]
) -> None:
    url = await sqs_api.queue()
    code, text = await sqs_api.refused("SendMessage", QueueUrl=url, **{"MessageBody": "x", **params})
    assert (code, text[: len(error[1])]) == (code if error[0] == "MalformedInput" else error[0], error[1])
    if error[0] == "MalformedInput":
        return
    entries = [{"Id": "good", "MessageBody": "good"}, {"Id": "bad", "MessageBody": "x", **params}]
    found = await sqs_api("SendMessageBatch", QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in found["Successful"]] == ["good"]
    assert found["Failed"] == [{"Id": "bad", "Code": code, "Message": text, "SenderFault": True}]
    assert await sqs_api.bodies(url) == ["good"]


async def test_the_size_of_a_batch_is_that_of_all_its_entries_also_of_those_that_are_refused(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    attribute = {"a": {"DataType": "Number", "StringValue": "x"}}
    entries = [{"Id": "a", "MessageBody": "x" * 1_048_568, "MessageAttributes": attribute}, {"Id": "b", "MessageBody": "ü"}]
    assert await sqs_api.refused("SendMessageBatch", QueueUrl=url, Entries=entries) == (
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048578 bytes.",
    )
    found = await sqs_api("SendMessageBatch", QueueUrl=url, Entries=[{**entries[0], "MessageBody": "x"}, entries[1]])
    assert ([each["Id"] for each in found["Successful"]], [each["Id"] for each in found["Failed"]]) == (["b"], ["a"])


async def test_a_nul_is_a_character_that_a_message_may_not_hold(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    attributes = {"a": {"DataType": "String", "StringValue": "\0"}}
    for operation, params in (
        ("SendMessage", {"MessageBody": "a\0"}),
        ("SendMessage", {"MessageBody": "a", "MessageAttributes": attributes}),
        ("SendMessageBatch", {"Entries": [{"Id": "a", "MessageBody": "\0"}]}),
    ):
        code, text = await sqs_api.refused(operation, QueueUrl=url, **params)
        assert (code, text[:26]) == ("InvalidMessageContents", "Invalid characters found. ")
    assert (await sqs_api.refused("ListQueues", QueueNamePrefix="a\0"))[0] == "SerializationException"


@pytest.mark.parametrize(
    ("operation", "entry"),
    [
        ("SendMessageBatch", {"MessageBody": "x"}),
        ("DeleteMessageBatch", {"ReceiptHandle": "x"}),
        ("ChangeMessageVisibilityBatch", {"ReceiptHandle": "x", "VisibilityTimeout": 1}),
    ],
)
async def test_a_batch_that_cannot_be_is_refused_whole(sqs_api: Sqs, operation: str, entry: dict[str, Any]) -> None:
    url, kind = await sqs_api.queue(), f"{operation}RequestEntry"
    cases: dict[tuple[str, ...], tuple[str, str]] = {
        (): ("EmptyBatchRequest", f"There should be at least one {kind} in the request."),
        ("a", "b", "a"): ("BatchEntryIdsNotDistinct", "Id a repeated."),
        ("",): ("InvalidBatchEntryId", "A batch entry id can only contain"),
        ("x" * 81,): ("InvalidBatchEntryId", "A batch entry id can only contain"),
    }
    for ids, error in cases.items():
        code, text = await sqs_api.refused(operation, QueueUrl=url, Entries=[{"Id": each, **entry} for each in ids])
        assert (code, text[: len(error[1])]) == (f"AWS.SimpleQueueService.{error[0]}", error[1])


async def test_receipt_handles_are_told_from_what_is_none(sqs_api: Sqs) -> None:
    url, other = await sqs_api.queue(), await sqs_api.queue()
    await sqs_api("SendMessage", QueueUrl=url, MessageBody="x")
    [message] = (await sqs_api("ReceiveMessage", QueueUrl=url))["Messages"]
    handle = message["ReceiptHandle"]
    for queue, given in ((url, "garbage"), (other, handle)):
        for operation, further in (("DeleteMessage", {}), ("ChangeMessageVisibility", {"VisibilityTimeout": 1})):
            assert await sqs_api.refused(operation, QueueUrl=queue, ReceiptHandle=given, **further) == (
                "ReceiptHandleIsInvalid",
                f'The input receipt handle "{given}" is not a valid receipt handle.',
            )
    assert (await sqs_api.refused("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=43201))[
        0
    ] == ("InvalidParameterValue")
    batch = [{"Id": "a", "ReceiptHandle": handle, "VisibilityTimeout": 0}, {"Id": "b", "ReceiptHandle": "x"}]
    found = await sqs_api("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=batch)
    assert (found["Successful"], [entry["Code"] for entry in found["Failed"]]) == ([{"Id": "a"}], ["ReceiptHandleIsInvalid"])
    [again] = (await sqs_api("ReceiveMessage", QueueUrl=url))["Messages"]
    found = await sqs_api("DeleteMessageBatch", QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": again["ReceiptHandle"]}])
    assert found == {"Successful": [{"Id": "a"}]}
    # Of a message that is gone already it is no error.
    await sqs_api("DeleteMessage", QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    assert (await sqs_api.refused("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=1))[1] == (
        f"Value {handle} for parameter ReceiptHandle is invalid. "
        "Reason: Message does not exist or is not available for visibility timeout change."
    )


async def test_who_waits_for_a_message_has_it_as_soon_as_it_is_sent(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        waiting = group.create_task(sqs_api.bodies(url, WaitTimeSeconds=20))
        await sqs_api("SendMessage", QueueUrl=url, MessageBody="at last")
    assert waiting.result() == ["at last"]


@pytest.mark.parametrize("half", [False, True])
async def test_who_has_gone_away_takes_no_message(sqs_api: Sqs, half: bool) -> None:
    """half: closes its sending half alone, which looks the same at first."""
    url = await sqs_api.queue()
    request = AWSRequest(
        "POST",
        sqs_api.frontend.url + "/",
        data=json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}),
        headers={"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage"},
    )
    SigV4Auth(Credentials(KEY, SECRET), "sqs", "us-east-1").add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = request.data if isinstance(request.data, bytes) else request.data.encode()
    raw = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{sqs_api.frontend.port}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
    waiting = sqs_api.context.queues._waiting
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", sqs_api.frontend.port)
        writer.write(raw + body)
        await asyncio.to_thread(wait_until, lambda: waiting._count)
        if half:
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.to_thread(wait_until, lambda: not waiting._count)
    await sqs_api("SendMessage", QueueUrl=url, MessageBody="x")
    assert await sqs_api.bodies(url) == ["x"]
