"""A bounded load of synchronous and asynchronous invocations that remembers what was accepted and what came of it."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.support import wait_until

SOURCE = "def handler(event, context):\n    return {'n': event['n']}\n"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"


class Load:
    """Runs two callers until the block ends: one invokes synchronously, one sends events whose success lands in a queue.

    accepted: request id of every 202. answered: numbers of the synchronous calls that came back, each must be right.
    """

    def __init__(self, client: Any, streams: Any, function: str) -> None:
        self._client = client
        self._streams = streams
        self._function = function
        self.queue = f"chaos-{uuid.uuid4().hex[:8]}"
        self.accepted: set[str] = set()
        self.answered: list[int] = []
        self.failures: list[str] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._synchronous), threading.Thread(target=self._asynchronous)]
        client.put_function_event_invoke_config(
            FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": QUEUE + self.queue}}
        )

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)

    def _synchronous(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                reply = self._client.invoke(FunctionName=self._function, Payload=json.dumps({"n": number}))
                result = json.loads(reply["Payload"].read())
            except (ClientError, BotoCoreError, OSError) as error:
                self.failures.append(str(error)[:200])
                self._stop.wait(0.05)
                continue
            if result == {"n": number}:
                self.answered.append(number)
            elif "FunctionError" in reply:
                self.failures.append(str(result)[:200])
            else:
                self.wrong.append(f"{number}: {result}")

    def _asynchronous(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                reply = self._client.invoke(
                    FunctionName=self._function, InvocationType="Event", Payload=json.dumps({"n": number})
                )
            except (ClientError, BotoCoreError, OSError) as error:
                self.failures.append(str(error)[:200])
                self._stop.wait(0.05)
                continue
            if reply["StatusCode"] == 202:
                self.accepted.add(reply["ResponseMetadata"]["RequestId"])
            self._stop.wait(0.005)

    def wait_for_answers(self, more: int, deadline_s: float = 30.0) -> None:
        """Until this many further synchronous calls came back right: the cluster works again."""
        start = len(self.answered)
        wait_until(
            lambda: len(self.answered) >= start + more,
            deadline_s=deadline_s,
            what=f"{more} more answers; the last failures were {self.failures[-3:]}",
        )

    def delivered(self) -> set[str]:
        from shared.queues import stream_key

        found = set()
        for _, fields in self._streams.xrange(stream_key(self.queue)):
            found.add(json.loads(fields["body"])["requestContext"]["requestId"])
        return found

    def assert_nothing_accepted_is_lost(self, deadline_s: float = 120.0) -> None:
        def missing() -> set[str]:
            return self.accepted - self.delivered()

        with contextlib.suppress(AssertionError):
            wait_until(lambda: not missing(), deadline_s=deadline_s, poll_s=0.3)
        lost = missing()
        assert not lost, f"{len(lost)} of {len(self.accepted)} accepted events are lost, e.g. {sorted(lost)[:3]}"
        assert not self.wrong, self.wrong
