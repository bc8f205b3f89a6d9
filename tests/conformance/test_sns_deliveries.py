"""What AWS's SNS was seen to deliver to queues and functions, through the front door: topics, queues, a router."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from shared.events.kafka import client_arguments
from shared.events.records import Behalf, Delivery, TopicParameters, encode
from tests.conformance.control_plane import ControlPlane
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION, unique
from tests.conformance.sns_world import Json, SnsWorld
from tests.conformance.test_sns_addresses import TIME, UUID, is_signed
from tests.conftest import Engines

ENVELOPE = [
    "Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL", "UnsubscribeURL",
]  # fmt: skip
FIFO_ENVELOPE = ["Type", "MessageId", "SequenceNumber", "TopicArn", "Message", "Timestamp", "UnsubscribeURL"]
NUMBER = re.compile(r"\d{20}")
BINARY = bytes([2, 3, 4])
World = Callable[..., SnsWorld]


@pytest.fixture
def world(control_plane: ControlPlane) -> SnsWorld:
    return SnsWorld(control_plane)


@pytest.fixture
def fifo(control_plane: ControlPlane) -> SnsWorld:
    return SnsWorld(control_plane, fifo=True)


def number(value: str) -> Json:
    return {"DataType": "Number", "StringValue": value}


def plain_attributes(message: Json) -> dict[str, str]:
    return dict(message["Attributes"])


@pytest.mark.covers("sns", "deliver-sqs.envelope", "deliver-sqs.envelope-subject", "deliver-sqs.system-attributes")
def test_a_queue_gets_the_envelope(world: SnsWorld) -> None:
    queue, subscription = world.subscribed_queue()
    ids = [world.publish("test-msg-1"), world.publish("test-msg-2", Subject="a subject")]
    messages = {json.loads(message["Body"])["Message"]: message for message in world.received(queue, 2)}
    first, second = (messages[text] for text in ("test-msg-1", "test-msg-2"))
    document = json.loads(first["Body"])
    assert list(document) == ENVELOPE
    assert (document["Type"], document["MessageId"], document["TopicArn"]) == ("Notification", ids[0], world.topic)
    assert re.fullmatch(TIME, document["Timestamp"])
    assert document["UnsubscribeURL"] == f"{world.plane.endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription}"
    assert "MessageAttributes" not in first
    assert first["MD5OfBody"] == hashlib.md5(first["Body"].encode(), usedforsecurity=False).hexdigest()
    assert re.fullmatch(UUID, first["MessageId"])
    assert first["MessageId"] != ids[0]
    told = plain_attributes(first)
    assert set(told) == {"ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"}
    assert told["ApproximateReceiveCount"] == "1"
    expected = [*ENVELOPE[:3], "Subject", *ENVELOPE[3:]]
    assert list(json.loads(second["Body"])) == expected


@pytest.mark.covers("sns", "deliver-sqs.envelope-attributes")
def test_attributes_are_the_last_of_the_envelope(world: SnsWorld) -> None:
    queue, _ = world.subscribed_queue()
    attributes = {
        "an-attribute-key": {"DataType": "String", "StringValue": "an-attribute-value"},
        "binary-attribute": {"DataType": "Binary", "BinaryValue": BINARY},
        "attr1": number("100.12"),
    }
    world.publish("text", MessageAttributes=attributes)
    [message] = world.received(queue)
    document = json.loads(message["Body"])
    assert list(document) == [*ENVELOPE, "MessageAttributes"]
    assert document["MessageAttributes"] == {
        "an-attribute-key": {"Type": "String", "Value": "an-attribute-value"},
        "binary-attribute": {"Type": "Binary", "Value": "AgME"},
        "attr1": {"Type": "Number", "Value": "100.12"},
    }
    assert "MessageAttributes" not in message


@pytest.mark.covers("sns", "deliver-sqs.raw", "deliver-sqs.raw-no-attributes", "set-subscription-attributes.raw-toggle")
def test_a_raw_queue_gets_the_message_itself(world: SnsWorld) -> None:
    queue, subscription = world.subscribed_queue(RawMessageDelivery="true")
    world.publish("Test msg", MessageAttributes={"attr1": number("99.12")}, Subject="dropped")
    [message] = world.received(queue)
    assert message["Body"] == "Test msg"
    assert message["MessageAttributes"] == {"attr1": number("99.12")}
    assert message["MD5OfMessageAttributes"] == "d302007e9aa062660afc85fd0a482472"
    world.publish("no attributes", Subject="dropped")
    [message] = world.received(queue)
    assert message["Body"] == "no attributes"
    assert not {"MessageAttributes", "MD5OfMessageAttributes"} & message.keys()
    for raw, found in (("false", "enveloped"), ("true", "raw")):
        world.set(subscription, "RawMessageDelivery", raw)
        told = world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        assert told["RawMessageDelivery"] == raw
        world.publish("text")
        [message] = world.received(queue)
        assert ("raw" if message["Body"] == "text" else "enveloped") == found


@pytest.mark.covers("sns", "deliver-sqs.batch-raw")
def test_the_entries_of_a_batch_arrive_one_by_one(world: SnsWorld) -> None:
    queue, _ = world.subscribed_queue(RawMessageDelivery="true")
    structured = json.dumps({"default": "test default", "sqs": "test sqs"})
    two = {"attr1": number("99.12"), "attr2": number("109.12")}
    entries = [
        {"Id": "1", "Message": "Test Message with two attributes", "MessageAttributes": two},
        {"Id": "2", "Message": "Test Message with one attribute", "MessageAttributes": {"attr1": number("19.12")}},
        {"Id": "3", "Message": "Test Message without attribute", "Subject": "Subject"},
        {"Id": "5", "Message": structured, "MessageStructure": "json"},
    ]
    world.sns.publish_batch(TopicArn=world.topic, PublishBatchRequestEntries=entries)
    found = {message["Body"]: message.get("MD5OfMessageAttributes") for message in world.received(queue, 4)}
    assert found == {
        "Test Message with two attributes": "9b720b3af309c1c4b0d395c53b08c502",
        "Test Message with one attribute": "1f07082409022a373fa2a2601f82b3cb",
        "Test Message without attribute": None,
        "test sqs": None,
    }


@pytest.mark.covers("sns", "deliver-sqs.publish-before-subscribe")
def test_a_queue_gets_what_is_published_after_it_was_subscribed(world: SnsWorld) -> None:
    world.publish("before")
    queue, _ = world.subscribed_queue()
    assert world.is_empty(queue, after="after")


@pytest.mark.covers("sns", "deliver-sqs.same-message-id-for-all-subscribers", "deliver-sqs.signature")
@pytest.mark.parametrize("version", ["1", "2"])
def test_two_queues_get_the_same_message(world: SnsWorld, version: str) -> None:
    world.sns.set_topic_attributes(TopicArn=world.topic, AttributeName="SignatureVersion", AttributeValue=version)
    pairs = [world.subscribed_queue() for _ in range(2)]
    message_id = world.publish("text", Subject="subject")
    messages = [world.received(queue)[0] for queue, _ in pairs]
    documents = [json.loads(message["Body"]) for message in messages]
    assert [document["MessageId"] for document in documents] == [message_id] * 2
    for document, (_, subscription) in zip(documents, pairs, strict=True):
        assert document["UnsubscribeURL"].endswith(subscription)
        assert document["SignatureVersion"] == version
        assert is_signed(document, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    assert messages[0]["MessageId"] != messages[1]["MessageId"]


@pytest.mark.covers("sns", "deliver-sqs.trace-header")
def test_the_trace_goes_along(world: SnsWorld) -> None:
    queue, _ = world.subscribed_queue()
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    world.plane.wire("sns", "query").call("Publish", {"TopicArn": world.topic, "Message": "text"}, {"X-Amzn-Trace-Id": trace})
    [message] = world.received(queue)
    assert plain_attributes(message)["AWSTraceHeader"] == trace


@pytest.mark.covers("sns", "deliver-sqs.cross-region")
def test_a_queue_of_another_region_gets_it_too(control_plane: ControlPlane) -> None:
    elsewhere = SnsWorld(control_plane, region=OTHER_REGION)
    queue = elsewhere.queue()
    elsewhere.subscribe("sqs", queue)
    elsewhere.publish("text", MessageAttributes={"attr1": number("1")})
    [document] = elsewhere.envelopes(queue)
    assert (document["TopicArn"], document["Message"]) == (elsewhere.topic, "text")
    assert OTHER_REGION in document["TopicArn"]
    assert document["MessageAttributes"] == {"attr1": {"Type": "Number", "Value": "1"}}


@pytest.mark.covers("sns", "filter-attributes.policy-removed", "set-subscription-attributes.filter-policy-empty-string")
def test_what_a_policy_keeps_back_comes_once_it_is_removed(world: SnsWorld) -> None:
    queue, subscription = world.subscribed_queue(FilterPolicy={"attr1": [{"numeric": [">", 0, "<=", 100]}]})
    world.publish("kept back")
    world.publish("too much", MessageAttributes={"attr1": number("111")})
    world.publish("passes", MessageAttributes={"attr1": number("99")})
    assert [document["Message"] for document in world.envelopes(queue)] == ["passes"]
    world.set(subscription, "FilterPolicy", "")
    assert "FilterPolicy" not in world.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert world.is_empty(queue, after="no attributes at all")


# ---- FIFO topics


@pytest.mark.covers("sns", "deliver-fifo.envelope")
def test_a_fifo_queue_gets_group_and_deduplication_id(fifo: SnsWorld) -> None:
    queue, subscription = fifo.subscribed_queue(fifo=True)
    ids = {"MessageGroupId": "message-group-id-1", "MessageDeduplicationId": "message-deduplication-id-1"}
    published = fifo.sns.publish(TopicArn=fifo.topic, Message="Test", **ids)
    [message] = fifo.received(queue)
    told = plain_attributes(message)
    assert {name: told[name] for name in ids} == ids
    assert NUMBER.fullmatch(told["SequenceNumber"])
    document = json.loads(message["Body"])
    assert list(document) == FIFO_ENVELOPE
    assert (document["MessageId"], document["SequenceNumber"]) == (published["MessageId"], published["SequenceNumber"])
    assert document["UnsubscribeURL"].endswith(f"/?Action=Unsubscribe&SubscriptionArn={subscription}")


@pytest.mark.covers("sns", "deliver-fifo.content-based-deduplication", "deliver-fifo.duplicate-other-group")
def test_the_text_tells_duplicates_whatever_their_group(control_plane: ControlPlane) -> None:
    world = SnsWorld(control_plane, fifo=True, ContentBasedDeduplication="true")
    queue, _ = world.subscribed_queue(fifo=True)
    for group in ("one", "two"):
        world.publish("Test", MessageGroupId=group)
    world.publish("last", MessageGroupId="one")
    first, last = world.received(queue, 2)
    told = plain_attributes(first)
    assert told["MessageDeduplicationId"] == "532eaabd9574880dbf76b9b8cc00832c20a6ec113d682299550d7a6e0f345e25"
    assert told["MessageGroupId"] == "one"
    assert json.loads(last["Body"])["Message"] == "last"


@pytest.mark.covers("sns", "deliver-fifo.duplicate", "deliver-fifo.standard-queue")
def test_a_duplicate_is_delivered_to_nobody(fifo: SnsWorld) -> None:
    queue, _ = fifo.subscribed_queue(fifo=True)
    standard, _ = fifo.subscribed_queue()
    for deduplication in ("same", "same", "other"):
        fifo.publish("text", MessageGroupId="group", MessageDeduplicationId=deduplication)
    told = [plain_attributes(message)["MessageDeduplicationId"] for message in fifo.received(queue, 2)]
    assert told == ["same", "other"]
    messages = fifo.received(standard, 2)
    for message in messages:
        assert list(json.loads(message["Body"])) == FIFO_ENVELOPE
        assert not {"MessageGroupId", "MessageDeduplicationId", "SequenceNumber"} & plain_attributes(message).keys()


@pytest.mark.covers("sns", "deliver-fifo.raw-batch")
def test_a_batch_keeps_its_order(fifo: SnsWorld) -> None:
    queue, _ = fifo.subscribed_queue(fifo=True, RawMessageDelivery="true")
    entries = [
        {
            "Id": str(place),
            "Message": f"message {place}",
            "MessageGroupId": "group",
            "MessageDeduplicationId": f"id-{place}",
            "MessageAttributes": {"place": number(str(place))},
        }
        for place in range(3)
    ]
    fifo.sns.publish_batch(TopicArn=fifo.topic, PublishBatchRequestEntries=entries)
    messages = fifo.received(queue, 3)
    assert [message["Body"] for message in messages] == [f"message {place}" for place in range(3)]
    for place, message in enumerate(messages):
        told = plain_attributes(message)
        assert (told["MessageGroupId"], told["MessageDeduplicationId"]) == ("group", f"id-{place}")
        assert message["MessageAttributes"] == {"place": number(str(place))}


def test_messages_of_a_group_stay_in_order(fifo: SnsWorld) -> None:
    queue, _ = fifo.subscribed_queue(fifo=True, RawMessageDelivery="true")
    texts = {group: [f"{group}{place}" for place in range(10)] for group in ("a", "b")}
    for place in range(10):
        for group, found in texts.items():
            fifo.publish(found[place], MessageGroupId=group, MessageDeduplicationId=found[place])
    bodies = [message["Body"] for message in fifo.received(queue, 20)]
    for group, found in texts.items():
        assert [body for body in bodies if body.startswith(group)] == found


# ---- dead-letter queues of subscriptions


def dead_ends(world: SnsWorld, *, fifo: bool = False, **attributes: Any) -> tuple[str, str]:
    """A dead-letter queue, and the subscription of a queue that is gone."""
    dead = world.queue(fifo=fifo)
    gone = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique('gone')}{'.fifo' if fifo else ''}"
    return dead, world.subscribe("sqs", gone, RedrivePolicy={"deadLetterTargetArn": dead}, **attributes)


ATTRIBUTES = {"attr1": number("111"), "attr2": {"DataType": "Binary", "BinaryValue": BINARY}}


@pytest.mark.covers("sns", "subscription-dlq.sqs-queue-deleted")
def test_the_dead_letter_queue_gets_what_the_queue_would_have_got(world: SnsWorld) -> None:
    dead, _ = dead_ends(world)
    world.publish("test_dlq_after_sqs_endpoint_deleted", MessageAttributes=ATTRIBUTES)
    [message] = world.received(dead)
    document = json.loads(message["Body"])
    assert list(document) == [*ENVELOPE, "MessageAttributes"]
    assert document["MessageAttributes"] == {
        "attr1": {"Type": "Number", "Value": "111"},
        "attr2": {"Type": "Binary", "Value": base64.b64encode(BINARY).decode()},
    }
    assert "MessageAttributes" not in message


@pytest.mark.covers("sns", "subscription-dlq.sqs-queue-deleted-raw")
def test_the_dead_letter_of_a_raw_subscription_is_raw(world: SnsWorld) -> None:
    dead, _ = dead_ends(world, RawMessageDelivery="true")
    world.publish("text", MessageAttributes=ATTRIBUTES)
    [message] = world.received(dead)
    assert (message["Body"], message["MessageAttributes"]) == ("text", ATTRIBUTES)


@pytest.mark.covers("sns", "subscription-dlq.no-redrive-policy", "list-subscriptions-by-topic.queue-deleted")
def test_a_subscription_outlives_its_queue_and_gets_a_dead_letter_queue_later(world: SnsWorld) -> None:
    queue, subscription = world.subscribed_queue()
    _, other = world.subscribed_queue()
    world.sqs.delete_queue(QueueUrl=world.url(queue))
    world.publish("to nobody")
    world.sns.unsubscribe(SubscriptionArn=other)
    listed = world.sns.list_subscriptions_by_topic(TopicArn=world.topic)["Subscriptions"]
    assert [one["SubscriptionArn"] for one in listed] == [subscription]
    dead = world.queue()
    world.set(subscription, "RedrivePolicy", {"deadLetterTargetArn": dead})
    assert world.is_empty(dead, after="later")


@pytest.mark.covers("sns", "subscription-dlq.fifo")
@pytest.mark.parametrize("raw", ["false", "true"])
def test_a_fifo_dead_letter_queue_keeps_order_and_ids(fifo: SnsWorld, raw: str) -> None:
    dead, _ = dead_ends(fifo, fifo=True, RawMessageDelivery=raw)
    entries = [
        {
            "Id": str(place),
            "Message": f"message {place}",
            "Subject": "subject",
            "MessageGroupId": "group",
            "MessageDeduplicationId": f"id-{place}",
            "MessageAttributes": {"attr1": number("1")},
        }
        for place in range(3)
    ]
    published = fifo.sns.publish_batch(TopicArn=fifo.topic, PublishBatchRequestEntries=entries)["Successful"]
    messages = fifo.received(dead, 3)
    for place, message in enumerate(messages):
        told = plain_attributes(message)
        assert (told["MessageGroupId"], told["MessageDeduplicationId"]) == ("group", f"id-{place}")
        if raw == "true":
            assert (message["Body"], message["MessageAttributes"]) == (f"message {place}", {"attr1": number("1")})
        else:
            document = json.loads(message["Body"])
            assert (document["Message"], document["Subject"]) == (f"message {place}", "subject")
            assert document["SequenceNumber"] == published[place]["SequenceNumber"]
            assert list(document)[-1] == "MessageAttributes"


@pytest.mark.covers("sns", "subscription-dlq.lambda-deleted")
def test_the_dead_letter_of_a_function_is_an_envelope(world: SnsWorld) -> None:
    dead = world.queue()
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{unique('gone')}"
    world.subscribe("lambda", function, RedrivePolicy={"deadLetterTargetArn": dead})
    world.publish("test_redrive_policy", MessageAttributes={"attr1": number("1")})
    [document] = world.envelopes(dead)
    assert list(document) == [*ENVELOPE, "MessageAttributes"]
    assert document["Message"] == "test_redrive_policy"


def test_what_cannot_leave_from_here_is_dead_at_once(world: SnsWorld) -> None:
    dead = world.queue()
    world.subscribe("sms", "+15551234567", RedrivePolicy={"deadLetterTargetArn": dead})
    world.publish("text")
    assert [document["Message"] for document in world.envelopes(dead)] == ["text"]


def test_a_topic_gets_what_another_service_delivers_to_it(world: SnsWorld, engines: Engines) -> None:
    """Told twice, as after a fault: it arrives once."""
    queue, _ = world.subscribed_queue()
    delivery = Delivery(
        delivery_id=unique("delivery"),
        behalf=Behalf.EVENTS,
        source_arn=f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r",
        origin_id=unique("origin"),
        target=world.topic,
        payload=b"from a rule",
        made_at_ms=time.time_ns() // 1_000_000,
        parameters=TopicParameters(subject="a subject"),
    )

    async def tell() -> None:
        producer = AIOKafkaProducer(**client_arguments(engines.kafka))
        await producer.start()
        try:
            for _ in range(2):
                await producer.send_and_wait("lambdad.deliveries", encode(delivery))
        finally:
            await producer.stop()

    asyncio.run(tell())
    [document] = world.envelopes(queue)
    assert (document["Message"], document["Subject"]) == ("from a rule", "a subject")
    assert world.is_empty(queue, after="after")
