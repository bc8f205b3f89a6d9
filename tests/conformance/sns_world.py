"""A topic, and those who get what is published to it: queues, addresses of a server of the test's own, functions."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.conformance.control_plane import ControlPlane
from tests.conformance.services.service import ACCOUNT, REGION, unique
from tests.support import wait_until

ARRIVE_S = 30.0
POLL_S = 5
Json = dict[str, Any]


class Posted(NamedTuple):
    """path: that it was posted to. headers: by lower-case name."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found


class Listener:
    """An HTTP server on loopback. statuses: what is answered, in turn; 200 when there is none left."""

    def __init__(self) -> None:
        self._posted: queue.Queue[Posted] = queue.Queue(maxsize=1_000)
        self.statuses: queue.Queue[int] = queue.Queue(maxsize=100)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer._posted.put_nowait(Posted(self.path, headers, body))
                status = outer.statuses.get_nowait() if not outer.statuses.empty() else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)

    def next(self) -> Posted:
        """What was posted next. Raises queue.Empty."""
        return self._posted.get(timeout=ARRIVE_S)

    def nothing_left(self) -> bool:
        return self._posted.empty()


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
