"""One-time schedules of EventBridge Scheduler, made all the time, some of which are due while something is done to the cluster."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

from tests.chaos.place import Place
from tests.chaos.traffic.contract import Ends, Traffic, arn_of, make_function, send_ends_to, unique
from tests.support import ROLE

ECHO = "def handler(event, context):\n    return event\n"
PRECISION_S = 60
AHEAD_S_MAX = 6
"""They are due up to so long after they were made."""


class Schedules(Traffic):
    """For a queue and for a function, in turn. Accepted is what CreateSchedule has answered."""

    name = "schedules"
    pause_s = 0.1

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._function = unique("schedules")
        self._reached: dict[str, Ends] = {}
        self._due_s: dict[str, int] = {}

    def open(self) -> None:
        client = self.place.client("lambda")
        make_function(client, self._function, ECHO)
        self._reached = {
            "queue": Ends(self.place.queue(f"{self._function}-queue"), lambda input: str(input["n"])),
            "function": Ends(self.place.queue(self._function), lambda record: str(record["responsePayload"]["n"])),
        }
        send_ends_to(client, self._function, OnSuccess=self._reached["function"].queue.arn)
        self.place.client("scheduler").create_schedule_group(Name=self._function)

    def close(self) -> None:
        self.place.client("scheduler").delete_schedule_group(Name=self._function)
        self.place.client("lambda").delete_function(FunctionName=self._function)

    def begin(self) -> None:
        super().begin()
        self._due_s.clear()
        for each in self._reached.values():
            each.forget()

    def step(self, number: int) -> None:
        name = unique(str(number))
        due_s = int(self.place.now_s()) + number % (AHEAD_S_MAX + 1)
        target = self._reached["queue"].queue.arn if number % 2 else arn_of(self._function)
        self.place.client("scheduler").create_schedule(
            GroupName=self._function,
            Name=name,
            ScheduleExpression=f"at({datetime.fromtimestamp(due_s, UTC):%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={"Arn": target, "RoleArn": ROLE, "Input": json.dumps({"n": name})},
        )
        # One whose minute was over when it was made, as the clock was put forward in between, never fires.
        if self.place.now_s() - due_s < PRECISION_S:
            self._due_s[name] = due_s
            self.take(name)

    def ends(self) -> Counter[str]:
        """Of what is not due, as the clock was put back since, the end is that it waits for its time."""
        found = sum((each.counts for each in self._reached.values()), Counter[str]())
        now_s = self.place.now_s()
        later = [name for name, due_s in self._due_s.copy().items() if due_s > now_s + 2 * AHEAD_S_MAX and name not in found]
        return found + Counter(name for name in later if self._waits(name))

    def wrong(self) -> list[str]:
        """A firing that is handed over twice is one message of a queue."""
        twice = [name for name, count in self._reached["queue"].counts.items() if count > 1]
        return [f"{self.name}: {name} fired more often than once" for name in twice]

    def _waits(self, name: str) -> bool:
        found = self.place.client("scheduler").get_schedule(GroupName=self._function, Name=name)
        return bool(found["Name"] == name)
