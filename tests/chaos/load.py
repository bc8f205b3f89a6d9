"""A bounded load that remembers what was accepted and what came of it, one by one: every kind of traffic by a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from botocore.exceptions import BotoCoreError, ClientError

from tests.chaos.traffic.contract import Traffic
from tests.chaos.traffic.invocations import Calls
from tests.support import wait_until

REFUSED = (ClientError, BotoCoreError, OSError, KafkaError, TimeoutError)
AFTER_REFUSED_S = 0.05
JOIN_S = 90


@dataclass(frozen=True)
class Count:
    """Of one kind of traffic. duplicates: ends that were told more often than once. wiped: what was in queues when Redis was
    wiped, which cannot come."""

    name: str
    accepted: int
    lost: int
    duplicates: int
    wiped: int = 0


class Load:
    """Synchronous calls, and what else is given. Opened once, and then run for as often as is wanted, each time anew."""

    def __init__(self, calls: Calls, *more: Traffic) -> None:
        self.calls = calls
        self.ended = more
        self._traffics: tuple[Traffic, ...] = (calls, *more)

    @property
    def request_ids(self) -> set[str]:
        """Of all asynchronous invocations."""
        return {request_id for each in self._traffics for request_id in each.request_ids}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Load]:
        with contextlib.ExitStack() as stack:
            for each in self._traffics:
                each.open()
                stack.callback(each.close)
            receive = {each: again_and_again(each, lambda each, _: each.receive()) for each in self._traffics if each.receives}
            with threads(receive):
                yield self

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Until the block ends."""
        for each in self._traffics:
            each.begin()
        with threads({each: again_and_again(each, send) for each in self._traffics}):
            yield self

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
        waiting = {each.name: each for each in self.ended}
        self.wait_for_answers(5, deadline_s)

        def all_ended() -> bool:
            for name, each in list(waiting.items()):
                ended = each.ends()
                if any(at > since and id in ended for id, at in list(each.accepted.items())):
                    del waiting[name]
            return not waiting

        try:
            wait_until(all_ended, deadline_s=deadline_s, poll_s=0.1)
        except AssertionError:
            refused = {name: (each.failures + each.unforeseen)[-2:] for name, each in waiting.items()}
            raise AssertionError(f"not within {deadline_s:.0f} s: an end of {refused}") from None

    def counts(self, deadline_s: float = 180.0) -> list[Count]:
        """Once everything has come to its end, or the deadline is over."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not any(each.missing() for each in self.ended), deadline_s=deadline_s, poll_s=0.3)
        found = []
        for each in self.ended:
            ends, missing = each.ends(), each.missing()
            told = [ends[id] for id in each.accepted]
            wiped = told.count(0) - len(missing)
            found.append(Count(each.name, len(told), len(missing), sum(count - 1 for count in told if count > 1), wiped))
        return found

    def wrong(self) -> list[str]:
        return [text for each in self._traffics for text in (*each.wrong(), *each.unforeseen)]

    def assert_nothing_accepted_is_lost(self, deadline_s: float = 120.0) -> None:
        counts = self.counts(deadline_s)
        lost = [(each.name, sorted(each.missing())[:3]) for each in self.ended if each.missing()]
        assert not lost, f"accepted and lost: {lost}, of {counts}"
        assert not self.wrong(), self.wrong()[:5]


def send(traffic: Traffic, number: int) -> float:
    traffic.step(number)
    return traffic.pause_s


def again_and_again(traffic: Traffic, do: Callable[[Traffic, int], float | None]) -> Callable[[threading.Event], None]:
    """do: takes a number that grows, gives the seconds to pause."""

    def run(stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                pause_s = do(traffic, number)
            except REFUSED as error:
                traffic.failures.append(str(error)[:200])
                pause_s = AFTER_REFUSED_S
            except Exception as error:
                traffic.unforeseen.append(f"{traffic.name}: {error!r}")
                pause_s = AFTER_REFUSED_S
            if pause_s:
                stop.wait(pause_s)

    return run


@contextlib.contextmanager
def threads(run: dict[Traffic, Callable[[threading.Event], None]]) -> Iterator[None]:
    """One for each, told by an event that the block has ended."""
    stop = threading.Event()
    started = [threading.Thread(target=do, args=[stop], name=each.name, daemon=True) for each, do in run.items()]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in started:
            thread.join(JOIN_S)
            assert not thread.is_alive(), f"{thread.name} does not end"
