"""Invocations: synchronous ones, and events whose ends are told to queues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.chaos.place import Place
from tests.chaos.traffic.contract import ECHO, Ends, Traffic, make_function, send_ends_to, unique

FAILING = "def handler(event, context):\n    raise ValueError(event['n'])\n"
TIMED = """
import time
def handler(event, context):
    began = time.monotonic()
    time.sleep(0.02)
    return {'n': event['n'], 'began': began, 'ended': time.monotonic()}
"""
ATTEMPTS_MAX = 2
RESERVED = 2


def request_of(record: Any) -> str:
    """The request id that a destination's record tells of."""
    return str(record["requestContext"]["requestId"])


class Calls(Traffic):
    """Synchronous invocations. answered: numbers of those that came back, each must be right."""

    name = "synchronous calls"
    pause_s = 0.005

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._function = unique("calls")
        self.answered: list[int] = []
        self._wrong: list[str] = []

    def open(self) -> None:
        make_function(self.place.client("lambda"), self._function, ECHO)

    def close(self) -> None:
        self.place.client("lambda").delete_function(FunctionName=self._function)

    def begin(self) -> None:
        super().begin()
        self.answered.clear()
        self._wrong.clear()

    def step(self, number: int) -> None:
        reply = self.place.client("lambda").invoke(FunctionName=self._function, Payload=json.dumps({"n": number}))
        result = json.loads(reply["Payload"].read())
        if result == {"n": number}:
            self.answered.append(number)
        elif "FunctionError" in reply:
            self.failures.append(str(result)[:200])
        else:
            self._wrong.append(f"{number}: {result}")

    def wrong(self) -> list[str]:
        return self._wrong


class Events(Traffic):
    """Asynchronous invocations whose success lands in a queue."""

    name = "events"
    source = ECHO
    condition = "OnSuccess"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.function = unique(self.name.replace(" ", "-"))
        self._ends: Ends | None = None

    @property
    def told(self) -> Ends:
        assert self._ends is not None, "open it first"
        return self._ends

    def open(self) -> None:
        client = self.place.client("lambda")
        make_function(client, self.function, self.source)
        self._ends = Ends(self.place.queue(self.function), request_of)
        send_ends_to(client, self.function, ATTEMPTS_MAX, **{self.condition: self._ends.queue.arn})

    def close(self) -> None:
        self.place.client("lambda").delete_function(FunctionName=self.function)

    def begin(self) -> None:
        super().begin()
        self.told.forget()

    def step(self, number: int) -> None:
        payload = json.dumps({"n": number}, separators=(",", ":"))
        reply = self.place.client("lambda").invoke(FunctionName=self.function, InvocationType="Event", Payload=payload)
        if reply["StatusCode"] == 202:
            self.take(reply["ResponseMetadata"]["RequestId"])

    def ends(self) -> Counter[str]:
        return self.told.counts

    @property
    def request_ids(self) -> Iterable[str]:
        return self.accepted

    def records(self) -> list[Any]:
        return [json.loads(body) for body in self.told.queue.bodies]

    def wrong(self) -> list[str]:
        """I6: no more attempts than allowed."""
        attempts = {record["requestContext"]["approximateInvokeCount"] for record in self.records()}
        return [f"{self.name}: {count} attempts" for count in attempts if count > ATTEMPTS_MAX]


class FailingEvents(Events):
    """Every event fails, is tried again and ends in the queue of failures."""

    name = "failing events"
    source = FAILING
    condition = "OnFailure"
    pause_s = 0.1

    def wrong(self) -> list[str]:
        """I6 exactly: what failed was tried as often as it may be, no more, no less."""
        found = [record["requestContext"] for record in self.records()]
        odd = [one for one in found if one["condition"] != "RetriesExhausted" or one["approximateInvokeCount"] != ATTEMPTS_MAX]
        return [f"{self.name}: {one}" for one in odd]


class LimitedEvents(Events):
    """Of a function with reserved concurrency, which says when it ran."""

    name = "limited events"
    source = TIMED
    pause_s = 0.04

    def open(self) -> None:
        super().open()
        self.place.client("lambda").put_function_concurrency(FunctionName=self.function, ReservedConcurrentExecutions=RESERVED)

    def wrong(self) -> list[str]:
        """I4: never more at once than are reserved. A record that was delivered twice tells of one run."""
        runs = {(told["began"], told["ended"]) for told in (record["responsePayload"] for record in self.records())}
        edges = sorted([(began, 1) for began, _ in runs] + [(ended, -1) for _, ended in runs])
        running = most = 0
        for _, step in edges:
            running += step
            most = max(most, running)
        return [*super().wrong(), *([f"{self.name}: {most} at once, {RESERVED} are reserved"] if most > RESERVED else [])]
