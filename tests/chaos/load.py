"""A bounded load that remembers what was accepted and what came of it, one by one: every kind of traffic by a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aiokafka.errors import KafkaError
from botocore.exceptions import BotoCoreError, ClientError

from tests.chaos.traffic import Calls, Events, Traffic
from tests.support import wait_until

REFUSED = (ClientError, BotoCoreError, OSError, KafkaError, TimeoutError)
JOIN_S = 90


@dataclass(frozen=True)
class Count:
    """Of one kind of traffic. duplicates: ends that were told more often than once."""

    name: str
    accepted: int
    lost: int
    duplicates: int


class Load:
    """Runs until the block ends: synchronous calls and events of one function, and what else is given."""

    def __init__(self, client: Any, streams: Any, function: str, *more: Traffic) -> None:
        self.calls = Calls(client, function)
        self.events = Events(client, streams, function)
        self.traffics: tuple[Traffic, ...] = (self.calls, self.events, *more)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[each], name=each.name) for each in self.traffics]
        for each in self.traffics:
            each.open()

    @property
    def accepted(self) -> set[str]:
        """Request ids of all events."""
        return {request_id for each in self.traffics if isinstance(each, Events) for request_id in each.accepted}

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_S)
            assert not thread.is_alive(), f"{thread.name} does not end"

    def close(self) -> None:
        """Remove what the traffics made."""
        for each in self.traffics:
            each.close()

    def _run(self, traffic: Traffic) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                traffic.step(number)
            except REFUSED as error:
                traffic.failures.append(str(error)[:200])
                self._stop.wait(0.05)
                continue
            if traffic.pause_s:
                self._stop.wait(traffic.pause_s)

    def wait_for_answers(self, more: int, deadline_s: float = 30.0) -> None:
        """Until this many further synchronous calls came back right: the cluster works again."""
        start = len(self.calls.answered)
        wait_until(
            lambda: len(self.calls.answered) >= start + more,
            deadline_s=deadline_s,
            what=f"{more} more answers; the last failures were {self.calls.failures[-3:]}",
        )

    def wait_until_whole(self, deadline_s: float = 120.0) -> None:
        """Until something of every kind that was accepted from now on has come to its end."""
        since = time.monotonic()
        waiting = {each.name: each for each in self.traffics if each is not self.calls}
        self.wait_for_answers(5, deadline_s)

        def all_ended() -> bool:
            for name, each in list(waiting.items()):
                ended = each.ends()
                if any(at > since and id in ended for id, at in list(each.accepted.items())):
                    del waiting[name]
            return not waiting

        what = "something of each kind comes to its end"
        wait_until(all_ended, deadline_s=deadline_s, poll_s=0.1, what=what)

    def counts(self, deadline_s: float = 180.0) -> list[Count]:
        """Once everything has come to its end, or the deadline is over."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not any(each.missing() for each in self.traffics[1:]), deadline_s=deadline_s, poll_s=0.3)
        found = []
        for each in self.traffics[1:]:
            ends = each.ends()
            told = [ends[id] for id in each.accepted]
            found.append(Count(each.name, len(told), told.count(0), sum(count - 1 for count in told if count > 1)))
        return found

    def wrong(self) -> list[str]:
        return [text for each in self.traffics for text in each.wrong()]

    def assert_nothing_accepted_is_lost(self, deadline_s: float = 120.0) -> None:
        counts = self.counts(deadline_s)
        lost = [(each.name, sorted(each.missing())[:3]) for each in self.traffics[1:] if each.missing()]
        assert not lost, f"accepted and lost: {lost}, of {counts}"
        assert not self.wrong(), self.wrong()[:5]
