"""What AWS was recorded to do over several calls: the entries of sqs.yaml that are not one call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.apis.sqs.conftest import Sqs, arn
from tests.support import PATIENCE_S

CONTENT_BASED = {"ContentBasedDeduplication": "true"}
HIGH_THROUGHPUT = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
BODY = json.dumps({"foo": "bar"})
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


async def send(sqs_api: Sqs, url: str, group: str, deduplication_id: str | None = None, body: str = BODY) -> str:
    """The message's id."""
    own = {} if deduplication_id is None else {"MessageDeduplicationId": deduplication_id}
    return str((await sqs_api("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=group, **own))["MessageId"])


async def take(sqs_api: Sqs, url: str) -> str | None:
    """The body of the next message, which is deleted; None for none, whose answer has no key Messages."""
    found = await sqs_api("ReceiveMessage", QueueUrl=url)
    if "Messages" not in found:
        return None
    [message] = found["Messages"]
    await sqs_api("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return str(message["Body"])


@pytest.mark.covers("sqs", "fifo.group-in-flight-next-group-served")
async def test_while_a_group_waits_for_one_of_its_own_the_next_group_is_served(sqs_api: Sqs) -> None:
    url = await sqs_api.queue(fifo=True, VisibilityTimeout="60", **CONTENT_BASED)
    for group in "123":
        for number in range(2):
            await send(sqs_api, url, group, body=f"{group} {number}")
    received = [(await sqs_api("ReceiveMessage", QueueUrl=url))["Messages"][0]["Body"] for _ in range(2)]
    assert received == ["1 0", "2 0"]


@pytest.mark.covers("sqs", "fifo.emptied-group-works-again")
async def test_a_group_that_was_emptied_takes_new_messages(sqs_api: Sqs) -> None:
    url = await sqs_api.queue(fifo=True)
    await send(sqs_api, url, "g1", "1", "Message 1")
    first, second = await take(sqs_api, url), await take(sqs_api, url)
    await send(sqs_api, url, "g1", "2", "Message 2")
    assert (first, second, await take(sqs_api, url)) == ("Message 1", None, "Message 2")


@pytest.mark.covers("sqs", "fifo.duplicate-after-delete-explicit-id", "fifo.duplicate-after-delete-content-based")
@pytest.mark.parametrize(("attributes", "deduplication_id"), [({}, "dedup1"), (CONTENT_BASED, None)])
async def test_a_duplicate_of_what_was_deleted_is_taken_and_never_delivered(
    sqs_api: Sqs, attributes: dict[str, str], deduplication_id: str | None
) -> None:
    url = await sqs_api.queue(fifo=True, **attributes)
    await send(sqs_api, url, "group-1", deduplication_id)
    assert await take(sqs_api, url) == BODY
    await send(sqs_api, url, "group-1", deduplication_id)
    assert await take(sqs_api, url) is None


@pytest.mark.covers("sqs", "fifo.duplicate-in-other-group-explicit-id", "fifo.duplicate-in-other-group-content-based")
@pytest.mark.parametrize(("attributes", "deduplication_id"), [({}, "dedup1"), (CONTENT_BASED, None)])
async def test_a_duplicate_in_another_group_is_one_as_well(
    sqs_api: Sqs, attributes: dict[str, str], deduplication_id: str | None
) -> None:
    url = await sqs_api.queue(fifo=True, **attributes)
    for group in ("group-1", "group-2"):
        await send(sqs_api, url, group, deduplication_id)
    assert (await take(sqs_api, url), await take(sqs_api, url)) == (BODY, None)


@pytest.mark.covers("sqs", "fifo.same-id-other-group-after-delete", "fifo.scope-message-group-high-throughput")
@pytest.mark.parametrize(("attributes", "second"), [({}, None), (HIGH_THROUGHPUT, "Test2")])
async def test_an_id_is_a_duplicate_in_the_queue_or_in_its_group_alone(
    sqs_api: Sqs, attributes: dict[str, str], second: str | None
) -> None:
    url = await sqs_api.queue(fifo=True, **attributes)
    await send(sqs_api, url, "group1", "same-dedup", "Test1")
    assert await take(sqs_api, url) == "Test1"
    await send(sqs_api, url, "group2", "same-dedup", "Test2")
    assert await take(sqs_api, url) == second


@pytest.mark.covers("sqs", "fifo.scope-message-group-regular-throughput")
async def test_the_scope_holds_without_high_throughput_and_for_content_too(sqs_api: Sqs) -> None:
    url = await sqs_api.queue(fifo=True, DeduplicationScope="messageGroup", **CONTENT_BASED)
    first = await send(sqs_api, url, "group1", body="Test")
    assert await take(sqs_api, url) == "Test"
    second = await send(sqs_api, url, "group2", body="Test")
    assert await take(sqs_api, url) == "Test"
    assert first != second


@pytest.mark.covers("sqs", "fifo.scope-changed-from-message-group-to-queue")
async def test_ids_that_were_sent_under_another_scope_are_no_duplicates(sqs_api: Sqs) -> None:
    url = await sqs_api.queue(fifo=True, **HIGH_THROUGHPUT)
    for number in (1, 2):
        await send(sqs_api, url, f"group{number}", "same-dedup", f"Test{number}")
        assert await take(sqs_api, url) == f"Test{number}"
    back = {"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}
    await sqs_api("SetQueueAttributes", QueueUrl=url, Attributes=back)
    await send(sqs_api, url, "group3", "same-dedup", "Test3")
    assert await take(sqs_api, url) == "Test3"


async def sources(sqs_api: Sqs, count: int, *bodies: str, receives: int = 1, **attributes: str) -> tuple[list[str], str]:
    """Queues with the same dead-letter queue, and that."""
    fifo = "FifoQueue" in attributes
    dead = await sqs_api.queue(fifo=fifo)
    policy = json.dumps({"deadLetterTargetArn": arn(dead), "maxReceiveCount": receives})
    return [await sqs_api.queue(fifo=fifo, RedrivePolicy=policy, **attributes) for _ in range(count)], dead


async def receive_all(sqs_api: Sqs, url: str, times: int = 1) -> list[dict[str, Any]]:
    """With everything that can be asked for, visible again at once, by body."""
    found: list[dict[str, Any]] = []
    for _ in range(times):
        answer = await sqs_api(
            "ReceiveMessage",
            QueueUrl=url,
            VisibilityTimeout=0,
            MaxNumberOfMessages=10,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        found += answer.get("Messages", [])
    return sorted(found, key=lambda message: str(message["Body"]))


@pytest.mark.covers("sqs", "redrive.standard-keeps-message")
async def test_a_dead_letter_keeps_what_it_was_and_says_where_it_comes_from(sqs_api: Sqs) -> None:
    [source], dead = await sources(sqs_api, 1)
    attributes = {"MyAttribute": {"DataType": "String", "StringValue": "foobar"}}
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}
    await sqs_api(
        "SendMessage",
        QueueUrl=source,
        MessageBody="message-1",
        MessageAttributes=attributes,
        MessageSystemAttributes=system,
    )
    await sqs_api("SendMessage", QueueUrl=source, MessageBody="message-2")
    delivered = await receive_all(sqs_api, source, times=4)
    letters = await receive_all(sqs_api, dead)
    assert [message["Body"] for message in delivered] == ["message-1", "message-2"]
    for before, after in zip(delivered, letters, strict=True):
        assert (before.pop("ReceiptHandle") != after.pop("ReceiptHandle")) is True
        assert before["Attributes"]["ApproximateReceiveCount"] == "1"
        before["Attributes"] |= {"ApproximateReceiveCount": "2", "DeadLetterQueueSourceArn": arn(source)}
        assert after == before
    assert letters[0]["MD5OfMessageAttributes"] == "adb59cd4678ea5a855436b949cd07ab6"
    assert letters[0]["Attributes"]["AWSTraceHeader"] == TRACE
    assert "AWSTraceHeader" not in letters[1]["Attributes"]


@pytest.mark.covers("sqs", "redrive.fifo-group-stays-usable")
async def test_a_dead_letter_does_not_hold_its_group_up(sqs_api: Sqs) -> None:
    [source], dead = await sources(sqs_api, 1, receives=2, FifoQueue="true", **CONTENT_BASED)
    first = await send(sqs_api, source, "1", body="foobar")
    assert len(await receive_all(sqs_api, source, times=3)) == 2
    [letter] = await receive_all(sqs_api, dead)
    assert (letter["MessageId"], letter["Body"]) == (first, "foobar")
    second = await send(sqs_api, source, "1", body="foobar2")
    [message] = await receive_all(sqs_api, source)
    assert (message["MessageId"], message["Body"]) == (second, "foobar2")


async def until_moved(sqs_api: Sqs, source: str) -> dict[str, Any]:
    """The last task, once it has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            [task] = (await sqs_api("ListMessageMoveTasks", SourceArn=arn(source)))["Results"]
            if task["Status"] != "RUNNING":
                return dict(task)


async def bury(sqs_api: Sqs, source: str, *bodies: str) -> None:
    for body in bodies:
        await sqs_api("SendMessage", QueueUrl=source, MessageBody=body)
    await receive_all(sqs_api, source, times=2)


@pytest.mark.covers("sqs", "move-task.to-destination")
async def test_dead_letters_are_moved_to_a_queue_of_choice(sqs_api: Sqs) -> None:
    [source], dead = await sources(sqs_api, 1)
    await bury(sqs_api, source, "message-1", "message-2")
    destination = await sqs_api.queue()
    await sqs_api("StartMessageMoveTask", SourceArn=arn(dead), DestinationArn=arn(destination))
    assert (await until_moved(sqs_api, dead))["Status"] == "COMPLETED"
    assert sorted(await sqs_api.bodies(destination)) == ["message-1", "message-2"]
    assert await sqs_api.bodies(dead) == []


@pytest.mark.covers("sqs", "move-task.to-original-queues")
async def test_dead_letters_are_moved_back_to_where_each_came_from(sqs_api: Sqs) -> None:
    both, dead = await sources(sqs_api, 2)
    for number, source in enumerate(both):
        await bury(sqs_api, source, f"{number} 1", f"{number} 2")
    await sqs_api("StartMessageMoveTask", SourceArn=arn(dead))
    task = await until_moved(sqs_api, dead)
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (4, 4)
    for number, source in enumerate(both):
        assert sorted(await sqs_api.bodies(source)) == [f"{number} 1", f"{number} 2"]
    assert await sqs_api.bodies(dead) == []
