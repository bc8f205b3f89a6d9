"""What is published: to a topic of SNS, to an event bus. Each has several ends, one for each that it was to reach."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.chaos.place import Place
from tests.chaos.traffic.contract import NOTHING, Ends, Traffic, arn_of, make_function, send_ends_to, unique
from tests.support import wait_until

AGAIN_AT_ONCE = {"healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 50}}


class Published(Traffic):
    """Accepted is what was answered with an id, once for each of `reached`: names, and what has come there."""

    pause_s = 0.06

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.function = unique(self.name.replace(" ", "-"))
        self.reached: dict[str, Ends] = {}

    def close(self) -> None:
        self.place.client("lambda").delete_function(FunctionName=self.function)
        for each in self.reached.values():
            self.place.client("sqs").delete_queue(QueueUrl=each.queue.url)

    def begin(self) -> None:
        super().begin()
        for each in self.reached.values():
            each.forget()

    def ends(self) -> Counter[str]:
        return Counter({f"{id}/{name}": count for name, each in self.reached.items() for id, count in each.counts.items()})

    def published(self, id: str, *more: str) -> None:
        for name in (*self.reached, *more):
            self.take(f"{id}/{name}")

    def _queue(self, name: str, id_of: Any) -> Ends:
        self.reached[name] = Ends(self.place.queue(unique(name)), id_of)
        return self.reached[name]

    def _function(self, id_of: Any) -> str:
        """The ARN of a function, which tells of what it ran for."""
        client = self.place.client("lambda")
        make_function(client, self.function, NOTHING)
        told = self._queue("function", lambda record: id_of(record["requestPayload"]))
        send_ends_to(client, self.function, OnSuccess=told.queue.arn)
        return arn_of(self.function)


class TopicMessages(Published):
    """Of SNS, to a queue, a function and an address."""

    name = "messages of a topic"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._topic = ""
        self._posted_before = 0

    def open(self) -> None:
        sns = self.place.client("sns")
        self._topic = sns.create_topic(Name=self.function)["TopicArn"]
        queue = self._queue("queue", lambda message: str(message["MessageId"])).queue
        function = self._function(lambda event: str(event["Records"][0]["Sns"]["MessageId"]))
        for protocol, endpoint in (("sqs", queue.arn), ("lambda", function)):
            sns.subscribe(TopicArn=self._topic, Protocol=protocol, Endpoint=endpoint)
        sns.subscribe(
            TopicArn=self._topic,
            Protocol="http",
            Endpoint=self.place.address.url,
            Attributes={"DeliveryPolicy": json.dumps(AGAIN_AT_ONCE)},
        )
        wait_until(lambda: self._pending() == 0, what="the address is confirmed")

    def close(self) -> None:
        self.place.client("sns").delete_topic(TopicArn=self._topic)
        super().close()

    def begin(self) -> None:
        super().begin()
        self._posted_before = len(self.place.address.ids)

    def _pending(self) -> int:
        found = self.place.client("sns").get_topic_attributes(TopicArn=self._topic)["Attributes"]
        return int(found["SubscriptionsPending"])

    def step(self, number: int) -> None:
        self.published(self.place.client("sns").publish(TopicArn=self._topic, Message=str(number))["MessageId"], "address")

    def ends(self) -> Counter[str]:
        return super().ends() + Counter(f"{id}/address" for id in self.place.address.ids[self._posted_before :])


class BusEvents(Published):
    """Of EventBridge, by a rule, to a queue, a function, and a function that does not exist: to that target's dead-letter queue."""

    name = "events of a bus"

    def open(self) -> None:
        events = self.place.client("events")
        events.create_event_bus(Name=self.function)
        events.put_rule(Name="odd", EventBusName=self.function, EventPattern='{"detail": {"odd": [true]}}')
        queue = self._queue("queue", lambda event: str(event["id"])).queue
        dead = self._queue("dead-letter", lambda event: str(event["id"])).queue
        function = self._function(lambda event: str(event["id"]))
        targets = [
            {"Id": "queue", "Arn": queue.arn},
            {"Id": "function", "Arn": function},
            {"Id": "nobody", "Arn": arn_of(f"{self.function}-nobody"), "DeadLetterConfig": {"Arn": dead.arn}},
        ]
        failed = events.put_targets(Rule="odd", EventBusName=self.function, Targets=targets)["FailedEntries"]
        assert not failed, failed

    def close(self) -> None:
        events = self.place.client("events")
        events.remove_targets(Rule="odd", EventBusName=self.function, Ids=["queue", "function", "nobody"])
        events.delete_rule(Name="odd", EventBusName=self.function)
        events.delete_event_bus(Name=self.function)
        super().close()

    def step(self, number: int) -> None:
        """Two: of the even one nobody is to hear."""
        entries = [
            {
                "EventBusName": self.function,
                "Source": "chaos",
                "DetailType": "n",
                "Detail": json.dumps({"n": n, "odd": n % 2 == 1}),
            }
            for n in (2 * number, 2 * number + 1)
        ]
        for entry in self.place.client("events").put_events(Entries=entries)["Entries"][1:]:
            if "EventId" in entry:
                self.published(entry["EventId"])
            else:
                self.failures.append(str(entry))

    def wrong(self) -> list[str]:
        events = [json.loads(body) for body in self.reached["queue"].queue.bodies]
        return [f"{self.name}: the rule does not match {event['detail']}" for event in events if not event["detail"]["odd"]]
