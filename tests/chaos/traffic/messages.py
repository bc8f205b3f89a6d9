"""Messages of SQS: sent, received and deleted, as owners of queues do it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from tests.chaos.place import Place
from tests.chaos.queue_reader import QueueReader
from tests.chaos.traffic.contract import Ends, Traffic, unique

VISIBILITY_S = 3
RECEIVES_MAX = 3
POISON_EVERY = 10
"""One of so many messages is never deleted by who receives it, and has to become a dead letter."""
DELAY_S, DELAYED_EVERY = 2, 5
GROUPS = 3


def number_of(message: Any) -> str:
    return str(message["n"])


class Received(Traffic):
    """What both kinds of queue have in common. Accepted is what SendMessage has answered with a message id."""

    receives = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.receipts: Counter[str] = Counter()
        self._queue: QueueReader | None = None

    @property
    def queue(self) -> QueueReader:
        assert self._queue is not None, "open it first"
        return self._queue

    def close(self) -> None:
        self.place.client("sqs").delete_queue(QueueUrl=self.queue.url)

    def begin(self) -> None:
        super().begin()
        self.receipts.clear()
        self.queue.forget()

    def receive(self) -> None:
        found = self.place.client("sqs").receive_message(
            QueueUrl=self.queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageSystemAttributeNames=["MessageGroupId"]
        )
        for message in found.get("Messages", ()):
            if self.received(json.loads(message["Body"]), message):
                self.place.client("sqs").delete_message(QueueUrl=self.queue.url, ReceiptHandle=message["ReceiptHandle"])

    def received(self, body: Any, message: Any) -> bool:
        """-> whether it is to be deleted."""
        self.receipts[number_of(body)] += 1
        return True

    def ends(self) -> Counter[str]:
        return Counter(self.receipts)

    def wiped(self) -> set[str]:
        return {number_of(json.loads(body)) for body in self.queue.held_at_wipe.copy()}

    def _send(self, n: str, **more: Any) -> None:
        sent = self.place.client("sqs").send_message(QueueUrl=self.queue.url, MessageBody=json.dumps({"n": n}), **more)
        if sent["MessageId"]:
            self.take(n)


class Messages(Received):
    """Of a standard queue with a dead-letter queue, some of them delayed."""

    name = "messages of a queue"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._dead: Ends | None = None

    @property
    def dead(self) -> Ends:
        assert self._dead is not None, "open it first"
        return self._dead

    def open(self) -> None:
        name = unique("messages")
        self._dead = Ends(self.place.queue(f"{name}-dead"), number_of)
        redrive = {"deadLetterTargetArn": self._dead.queue.arn, "maxReceiveCount": RECEIVES_MAX}
        self._queue = self.place.queue(name, VisibilityTimeout=str(VISIBILITY_S), RedrivePolicy=json.dumps(redrive))

    def close(self) -> None:
        super().close()
        self.place.client("sqs").delete_queue(QueueUrl=self.dead.queue.url)

    def begin(self) -> None:
        super().begin()
        self.dead.forget()

    def step(self, number: int) -> None:
        self._send(str(number), DelaySeconds=DELAY_S if number % DELAYED_EVERY == 1 else 0)

    def received(self, body: Any, message: Any) -> bool:
        if int(body["n"]) % POISON_EVERY:
            return super().received(body, message)
        # It is soon to be received again, and in the end nobody's.
        self.place.client("sqs").change_message_visibility(
            QueueUrl=self.queue.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )
        return False

    def ends(self) -> Counter[str]:
        return super().ends() + self.dead.counts


class OrderedMessages(Received):
    """Of a FIFO queue: who sends tries each message again, with its deduplication id, until it is accepted."""

    name = "messages of a FIFO queue"
    pause_s = 0.04

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._next = 0
        self._order: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def open(self) -> None:
        self._queue = self.place.queue(f"{unique('ordered')}.fifo", FifoQueue="true", VisibilityTimeout=str(VISIBILITY_S))

    def begin(self) -> None:
        super().begin()
        self._order.clear()

    def step(self, number: int) -> None:
        n = str(self._next)
        self._send(n, MessageGroupId=f"group-{self._next % GROUPS}", MessageDeduplicationId=n)
        self._next += 1

    def received(self, body: Any, message: Any) -> bool:
        self._order[message["Attributes"]["MessageGroupId"]].append((int(body["n"]), message["MessageId"]))
        return super().received(body, message)

    def wrong(self) -> list[str]:
        return [
            *(f"{self.name}: {group}: {text}" for group, seen in self._order.items() for text in out_of_order(seen)),
            *(f"{self.name}: {text}" for text in stored_twice(seen for seen in self._order.values())),
        ]


def out_of_order(seen: Sequence[tuple[int, str]]) -> list[str]:
    """seen: numbers as they were received. A number may come again; the first time of each is in order."""
    found, first, highest = [], set(), -1
    for number, _ in seen:
        if number not in first and number < highest:
            found.append(f"{number} came after {highest}")
        first.add(number)
        highest = max(highest, number)
    return found


def stored_twice(groups: Any) -> list[str]:
    """What was sent with one deduplication id is one message."""
    ids: dict[int, set[str]] = defaultdict(set)
    for seen in groups:
        for number, message_id in seen:
            ids[number].add(message_id)
    return [f"{number} is {len(found)} messages" for number, found in ids.items() if len(found) > 1]
