"""What is asked of every kind of traffic, and what several of them need."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.chaos.place import Place
from tests.chaos.queue_reader import QueueReader
from tests.support import PYTHON, ROLE, wait_until, zip_of

ECHO = "def handler(event, context):\n    return {'n': event['n']}\n"
NOTHING = "def handler(event, context):\n    return None\n"


class Traffic:
    """accepted: what has to come to an end, by an id of its own kind, with the time of acceptance. failures: what was refused.
    unforeseen: errors that nobody should see. It is opened once, and begun anew for each thing that is done to the cluster."""

    name = ""
    pause_s = 0.02
    receives = False
    """Whether `receive` is to be called, again and again, from when it is opened until it is closed."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.accepted: dict[str, float] = {}
        self.failures: list[str] = []
        self.unforeseen: list[str] = []

    def open(self) -> None:
        """Make what it needs."""

    def close(self) -> None:
        """Remove what it made."""

    def begin(self) -> None:
        """Forget all that has come to its end."""
        self.accepted.clear()
        self.failures.clear()
        self.unforeseen.clear()

    def step(self, number: int) -> None:
        """Send one."""

    def receive(self) -> None:
        """Take what has come, with an end of its own."""

    def ends(self) -> Counter[str]:
        """How often the end of each accepted one was told."""
        return Counter()

    def wiped(self) -> set[str]:
        """Those of the accepted that were in a queue which they were to be received from when Redis was wiped."""
        return set()

    def wrong(self) -> Iterable[str]:
        """What must never be seen, by counting; looked at when everything has ended."""
        return ()

    @property
    def request_ids(self) -> Iterable[str]:
        """Of asynchronous invocations that the ledger has to know."""
        return ()

    def missing(self) -> set[str]:
        return self.accepted.keys() - self.ends().keys() - self.wiped()

    def take(self, id: str) -> None:
        self.accepted[id] = time.monotonic()


class Ends:
    """Of what ends in a queue: how often each id was told. id_of: the id that a body tells of."""

    def __init__(self, queue: QueueReader, id_of: Callable[[Any], str]) -> None:
        self.queue = queue
        self._id_of = id_of
        self._counted = 0
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        self.queue.read()
        new, self._counted = self.queue.bodies[self._counted :], len(self.queue.bodies)
        self._counts.update(self._id_of(json.loads(body)) for body in new)
        return self._counts

    def forget(self) -> None:
        self.queue.forget()
        self._counted = 0
        self._counts.clear()


def unique(what: str) -> str:
    return f"chaos-{what}-{uuid.uuid4().hex[:8]}"


def make_function(client: Any, name: str, source: str, **variables: str) -> None:
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Timeout=10,
        MemorySize=256,
        Environment={"Variables": variables},
        Code={"ZipFile": zip_of({"app.py": source})},
    )
    wait_until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active", what=f"{name} is active")


def send_ends_to(client: Any, function: str, attempts_max: int = 1, **destinations: str) -> None:
    """destinations: OnSuccess or OnFailure, and an ARN."""
    client.put_function_event_invoke_config(
        FunctionName=function,
        MaximumRetryAttempts=attempts_max - 1,
        DestinationConfig={name: {"Destination": arn} for name, arn in destinations.items()},
    )


def arn_of(function: str) -> str:
    return f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
