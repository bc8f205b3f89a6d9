"""What AWS's SNS was seen to post to addresses of http, and what the links in it do."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.conformance.control_plane import ControlPlane
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION
from tests.conformance.sns_world import Json, SnsWorld, get
from tests.integration.http_listener import Listener, Requested
from tests.support import wait_until

PLAIN_TEXT = "text/plain; charset=UTF-8"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
CONFIRMATION = [
    "Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp", "SignatureVersion", "Signature",
    "SigningCertURL",
]  # fmt: skip


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener().listening() as found:
        yield found


@pytest.fixture
def world(control_plane: ControlPlane) -> SnsWorld:
    return SnsWorld(control_plane)


def confirmed(world: SnsWorld, listener: Listener, **attributes: Any) -> str:
    """The ARN of a subscription whose owner has agreed by the link."""
    arn = world.subscribe("http", f"{listener.address}/inbox", **attributes)
    assert get(listener.next().json["SubscribeURL"])[0] == 200
    return arn


def is_pending(world: SnsWorld, arn: str) -> str:
    return str(world.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"])


def check_headers(posted: Requested, kind: str, topic: str, subscription: str | None, content_type: str = PLAIN_TEXT) -> None:
    headers = posted.headers
    expected = {
        "accept-encoding": "gzip,deflate",
        "content-length": str(len(posted.body)),
        "content-type": content_type,
        "user-agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": kind,
        "x-amz-sns-topic-arn": topic,
    }
    assert {name: headers.get(name) for name in expected} == expected
    assert headers.get("x-amz-sns-subscription-arn") == subscription
    assert re.fullmatch(UUID, headers["x-amz-sns-message-id"])
    assert headers["host"].startswith("127.0.0.1:")
    assert "accept" not in headers


def is_signed(document: Json, *members: str) -> bool:
    """Whether its signature is that of the certificate that it leads to."""
    status, pem = get(document["SigningCertURL"])
    assert status == 200
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    text = "".join(f"{name}\n{document[name]}\n" for name in members if name in document)
    algorithm = hashes.SHA256() if document["SignatureVersion"] == "2" else hashes.SHA1()
    key.verify(base64.b64decode(document["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)
    return re.fullmatch(r"https?://\S+/SimpleNotificationService-[0-9a-f]{32}\.pem", document["SigningCertURL"]) is not None


@pytest.mark.covers("sns", "http.subscription-confirmation", "http.confirm-by-url")
def test_an_address_is_asked_first_and_agrees_by_the_link(world: SnsWorld, listener: Listener) -> None:
    arn = world.subscribe("http", f"{listener.address}/inbox?of=mine", RawMessageDelivery="true")
    posted = listener.next()
    document = posted.json
    assert posted.path == "/inbox?of=mine"
    check_headers(posted, "SubscriptionConfirmation", world.topic, None)
    assert list(document) == CONFIRMATION
    assert document["Message"] == (
        f"You have chosen to subscribe to the topic {world.topic}.\n"
        "To confirm the subscription, visit the SubscribeURL included in this message."
    )
    assert (document["TopicArn"], document["SignatureVersion"]) == (world.topic, "1")
    link = f"{world.plane.endpoint}/?Action=ConfirmSubscription&TopicArn={world.topic}&Token={document['Token']}"
    assert document["SubscribeURL"] == link
    assert re.fullmatch(TIME, document["Timestamp"])
    assert is_signed(document, "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    assert is_pending(world, arn) == "true"
    for _ in range(2):
        status, text = get(link)
        assert (status, f"<ConfirmSubscriptionResult><SubscriptionArn>{arn}</SubscriptionArn>" in text) == (200, True)
        assert is_pending(world, arn) == "false"


def test_a_topics_signature_version_is_that_of_its_handshakes_too(world: SnsWorld, listener: Listener) -> None:
    world.sns.set_topic_attributes(TopicArn=world.topic, AttributeName="SignatureVersion", AttributeValue="2")
    arn = world.subscribe("http", f"{listener.address}/inbox")
    asked = listener.next().json
    assert get(asked["SubscribeURL"])[0] == 200
    assert get(f"{world.plane.endpoint}/?Action=Unsubscribe&SubscriptionArn={arn}")[0] == 200
    for document in (asked, listener.next().json):
        assert document["SignatureVersion"] == "2"
        assert is_signed(document, "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@pytest.mark.covers(
    "sns",
    "http.confirm-by-url-topic-not-an-arn",
    "http.confirm-by-url-topic-in-other-region",
    "http.confirm-by-url-bad-token",
    "http.confirm-by-url-other-topic-name",
)
def test_a_link_that_was_changed(world: SnsWorld, listener: Listener) -> None:
    arn = world.subscribe("http", f"{listener.address}/inbox")
    document = listener.next().json
    link, token = document["SubscribeURL"], document["Token"]
    wrong = {
        link.replace(world.topic, "not-an-arn"): "Invalid parameter: Topic",
        link.replace(REGION, OTHER_REGION): "Invalid parameter: Topic",
        link.replace(token, "abc123"): "Invalid parameter: Token",
    }
    for changed, text in wrong.items():
        status, answer = get(changed)
        error = f"<Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>{text}</Message></Error><RequestId>"
        assert (status, error in answer) == (400, True), answer
    assert is_pending(world, arn) == "true"
    status, answer = get(link.replace(world.topic, world.topic[:-1] + ("0" if world.topic[-1] != "0" else "1")))
    assert (status, f"<SubscriptionArn>{arn}</SubscriptionArn>" in answer) == (200, True)
    assert is_pending(world, arn) == "false"


@pytest.mark.covers("sns", "http.notification")
def test_a_message_is_posted_in_its_envelope(world: SnsWorld, listener: Listener) -> None:
    arn = confirmed(world, listener)
    message_id = world.publish("test_external_http_endpoint")
    posted = listener.next()
    check_headers(posted, "Notification", world.topic, arn)
    document = posted.json
    assert document["MessageId"] == posted.headers["x-amz-sns-message-id"] == message_id
    assert (document["Type"], document["Message"]) == ("Notification", "test_external_http_endpoint")
    assert document["UnsubscribeURL"] == f"{world.plane.endpoint}/?Action=Unsubscribe&SubscriptionArn={arn}"
    assert is_signed(document, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    assert "x-amz-sns-rawdelivery" not in posted.headers


@pytest.mark.covers("sns", "http.notification-raw", "http.content-type-from-subscription-policy")
def test_a_raw_message_is_posted_as_it_is(world: SnsWorld, listener: Listener) -> None:
    arn = confirmed(world, listener, RawMessageDelivery="true")
    attributes = {"a": {"DataType": "String", "StringValue": "1"}}
    world.publish("text", MessageAttributes=attributes)
    posted = listener.next()
    check_headers(posted, "Notification", world.topic, arn)
    assert (posted.body, posted.headers["x-amz-sns-rawdelivery"]) == (b"text", "true")
    world.set(arn, "DeliveryPolicy", {"requestPolicy": {"headerContentType": "text/csv"}})
    world.publish("a,b")
    check_headers(listener.next(), "Notification", world.topic, arn, content_type="text/csv")


@pytest.mark.covers("sns", "http.content-type-from-topic-policy")
def test_the_topic_says_of_which_type_messages_are(world: SnsWorld, listener: Listener) -> None:
    policy = {"http": {"defaultRequestPolicy": {"headerContentType": "application/json"}}}
    world.sns.set_topic_attributes(TopicArn=world.topic, AttributeName="DeliveryPolicy", AttributeValue=json.dumps(policy))
    arn = world.subscribe("http", f"{listener.address}/inbox")
    asked = listener.next()
    check_headers(asked, "SubscriptionConfirmation", world.topic, None)
    get(asked.json["SubscribeURL"])
    world.publish("text")
    check_headers(listener.next(), "Notification", world.topic, arn, content_type="application/json")


@pytest.mark.covers("sns", "http.unsubscribe-by-url", "http.unsubscribe-confirmation")
def test_whoever_has_the_link_unsubscribes_and_may_take_it_back(world: SnsWorld, listener: Listener) -> None:
    arn = confirmed(world, listener, RawMessageDelivery="true")
    link = f"{world.plane.endpoint}/?Action=Unsubscribe&SubscriptionArn={arn}"
    status, answer = get(link)
    form = r"<UnsubscribeResponse [^>]*><ResponseMetadata><RequestId>[0-9a-f-]{36}</RequestId></ResponseMetadata></UnsubscribeResponse>"
    assert (status, re.fullmatch(form, answer) is not None) == (200, True), answer
    posted = listener.next()
    check_headers(posted, "UnsubscribeConfirmation", world.topic, arn)
    document = posted.json
    assert list(document) == CONFIRMATION
    assert document["Message"] == (
        f"You have chosen to deactivate subscription {arn}.\n"
        "To cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
    )
    assert world.sns.list_subscriptions_by_topic(TopicArn=world.topic)["Subscriptions"] == []
    assert get(document["SubscribeURL"])[0] == 200
    [listed] = world.sns.list_subscriptions_by_topic(TopicArn=world.topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == arn


def test_a_subscription_that_was_confirmed_so_is_only_removed_by_a_signed_request(world: SnsWorld, listener: Listener) -> None:
    arn = world.subscribe("http", f"{listener.address}/inbox")
    token = listener.next().json["Token"]
    world.sns.confirm_subscription(TopicArn=world.topic, Token=token, AuthenticateOnUnsubscribe="true")
    status, answer = get(f"{world.plane.endpoint}/?Action=Unsubscribe&SubscriptionArn={arn}")
    assert (status, "<Code>AuthorizationError</Code>" in answer) == (403, True)
    world.sns.unsubscribe(SubscriptionArn=arn)
    assert world.sns.list_subscriptions_by_topic(TopicArn=world.topic)["Subscriptions"] == []


def test_a_link_is_good_for_two_operations_alone(world: SnsWorld) -> None:
    status, answer = get(f"{world.plane.endpoint}/?Action=DeleteTopic&Version=2010-03-31&TopicArn={world.topic}")
    assert status in (400, 403), answer
    assert world.sns.get_topic_attributes(TopicArn=world.topic)


def test_an_address_that_is_busy_is_tried_again_as_its_policy_says(world: SnsWorld, listener: Listener) -> None:
    retry = {
        "minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 3, "numNoDelayRetries": 2, "numMinDelayRetries": 0,
        "numMaxDelayRetries": 0, "backoffFunction": "linear",
    }  # fmt: skip
    confirmed(world, listener, DeliveryPolicy={"healthyRetryPolicy": retry})
    for status in (500, 429):
        listener.answers.append((status, {}, b""))
    message_id = world.publish("text")
    assert [listener.next().headers["x-amz-sns-message-id"] for _ in range(3)] == [message_id] * 3


def test_metadata_addresses_and_the_clusters_engines_are_never_posted_to(world: SnsWorld, control_plane: ControlPlane) -> None:
    """Their subscription is taken, and what would be posted there ends in what is undeliverable."""
    from prometheus_client import REGISTRY as METRICS

    def parked() -> float:
        return METRICS.get_sample_value("lambdad_undeliverable_total", {"kind": "http"}) or 0

    before = parked()
    world.subscribe("http", "http://169.254.169.254/latest/meta-data/")
    wait_until(lambda: parked() == before + 1, what="the confirmation is given up")
    assert ACCOUNT in world.topic
