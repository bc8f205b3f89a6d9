"""`lambdad events --follow` against an endpoint that is a list: each state of each event is shown once, and none is missed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from deploy.local.events import following
from deploy.local.events.client import LedgerClient
from deploy.local.events.following import Following
from shared.ledger.answers import Event, Listed

SOON = "2999-01-01T00:00:%02d.000Z"


class Ledger:
    """As `/_lambdad/events` answers: the newest first, page by page."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}

    def has(self, number: int, status: str, attempts: int = 1, **more: Any) -> None:
        at = SOON % (number % 60)
        self.events[str(number)] = Event(str(number), "f", status, attempts, at, at, **more)

    def get(self, path: str, parameters: Mapping[str, str], kind: Any) -> Listed:
        assert (path, kind) == ("", Listed)
        if "request_id" in parameters:
            return Listed([self.events[each] for each in parameters["request_id"].split(",")], None)
        newest = sorted(self.events.values(), key=lambda event: int(event.request_id), reverse=True)
        begin, limit = int(parameters.get("after", "0")), int(parameters["limit"])
        more = str(begin + limit) if begin + limit < len(newest) else None
        return Listed([event for event in newest[begin : begin + limit] if event.accepted_at >= parameters["since"]], more)


def follow(ledger: Ledger, **asked: str) -> tuple[Following, list[tuple[str, str]]]:
    shown: list[tuple[str, str]] = []
    client = cast("LedgerClient", ledger)
    return Following(client, asked, lambda event: shown.append((event.request_id, event.status))), shown


def test_each_change_of_an_event_is_shown_once() -> None:
    ledger = Ledger()
    looks, shown = follow(ledger)
    ledger.has(1, "running")
    for status in ("running", "retrying", "retrying", "succeeded", "succeeded"):
        ledger.has(1, status)
        assert looks.look()
    assert shown == [("1", "running"), ("1", "retrying"), ("1", "succeeded")]


def test_an_event_is_shown_when_it_comes_to_pass_the_filter() -> None:
    ledger = Ledger()
    looks, shown = follow(ledger, status="failed,discarded,dead-lettered", error="keyerror")
    for number in range(4):
        ledger.has(number, "retrying")
    looks.look()
    assert shown == []
    ledger.has(0, "failed", error="KeyError: a", deliveries=["dead-lettered queue"])
    ledger.has(1, "failed", error="ValueError", deliveries=["dead-lettered queue"])
    ledger.has(2, "failed", error="KeyError: a", deliveries=["kept queue"])
    ledger.has(3, "succeeded")
    looks.look()
    assert shown == [("0", "failed")]


def test_of_more_events_than_a_page_holds_none_is_missed_and_too_many_are_told() -> None:
    ledger = Ledger()
    looks, shown = follow(ledger)
    many = following.PAGE * 3 + 7
    for number in range(many):
        ledger.has(number, "succeeded")
    assert looks.look()
    assert sorted(int(each) for each, _ in shown) == list(range(many))
    for number in range(many, many + following.PAGE * (following.PAGES_MAX + 1)):
        ledger.has(number, "succeeded")
    assert not looks.look()


def test_what_is_remembered_is_what_can_still_come(monkeypatch: Any) -> None:
    ledger = Ledger()
    looks, shown = follow(ledger)
    ledger.has(1, "succeeded")
    ledger.has(2, "waiting")
    looks.look()
    monkeypatch.setattr(time, "time", lambda: 2**36)
    looks.look()
    assert list(looks._seen) == ["2"], "the one that ended long ago cannot change any more"
    ledger.has(2, "cancelled")
    looks.look()
    assert shown[-1] == ("2", "cancelled")
