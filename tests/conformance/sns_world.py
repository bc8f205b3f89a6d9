"""A topic, and those who get what is published to it: queues, addresses of a server of the test's own, functions."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.conformance.control_plane import ControlPlane
from tests.conformance.services.service import ACCOUNT, REGION, unique
from tests.support import wait_until

ARRIVE_S = 30.0
POLL_S = 5
Json = dict[str, Any]


class SnsWorld:
    """attributes: of the topic. fifo: whether it is a FIFO topic."""

    def __init__(self, plane: ControlPlane, *, fifo: bool = False, region: str = REGION, **attributes: str) -> None:
        self.plane = plane
        self.sns = plane.wire("sns", "query", region).client
        self.sqs = plane.wire("sqs", "json").client
        self.suffix = ".fifo" if fifo else ""
        given = {**attributes, **({"FifoTopic": "true"} if fifo else {})}
        self.topic = str(self.sns.create_topic(Name=unique("t") + self.suffix, Attributes=given)["TopicArn"])

    def queue(self, *, fifo: bool = False, **attributes: str) -> str:
        """The ARN of a new queue."""
        name = unique("q") + (".fifo" if fifo else "")
        given = {**attributes, **({"FifoQueue": "true"} if fifo else {})}
        self.sqs.create_queue(QueueName=name, Attributes=given)
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def url(self, queue_arn: str) -> str:
        return str(self.sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"])

    def subscribe(self, protocol: str, endpoint: str, **attributes: Any) -> str:
        given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
        reply = self.sns.subscribe(
            TopicArn=self.topic, Protocol=protocol, Endpoint=endpoint, Attributes=given, ReturnSubscriptionArn=True
        )
        return str(reply["SubscriptionArn"])

    def set(self, subscription: str, name: str, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        self.sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName=name, AttributeValue=text)

    def subscribed_queue(self, *, fifo: bool = False, **attributes: Any) -> tuple[str, str]:
        """A new queue's ARN and that of its subscription."""
        arn = self.queue(fifo=fifo)
        return arn, self.subscribe("sqs", arn, **attributes)

    def publish(self, message: str, **more: Any) -> str:
        """The message's id."""
        return str(self.sns.publish(TopicArn=self.topic, Message=message, **more)["MessageId"])

    def received(self, queue_arn: str, count: int = 1) -> list[Json]:
        """As many messages as are told, in the order in which they came, each taken away from the queue."""
        found: list[Json] = []
        url = self.url(queue_arn)

        def receive() -> bool:
            reply = self.sqs.receive_message(
                QueueUrl=url,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
                MaxNumberOfMessages=10,
                WaitTimeSeconds=POLL_S,
            )
            for message in reply.get("Messages", []):
                found.append(message)
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        wait_until(receive, deadline_s=ARRIVE_S, what=f"{count} messages arrive")
        assert len(found) == count, found
        return found

    def envelopes(self, queue_arn: str, count: int = 1) -> list[Json]:
        return [json.loads(message["Body"]) for message in self.received(queue_arn, count)]

    def is_empty(self, queue_arn: str, *, after: str) -> bool:
        """Whether nothing was in a queue before what is published now: `after` is all that comes."""
        self.publish(after)
        [message] = self.received(queue_arn)
        return bool(message["Body"] == after or json.loads(message["Body"])["Message"] == after)


def get(url: str) -> tuple[int, str]:
    """Status and text of an answer to whoever has a link."""
    try:
        with urllib.request.urlopen(url, timeout=ARRIVE_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
