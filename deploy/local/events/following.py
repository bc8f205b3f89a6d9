"""`lambdad events --follow`: events as they are accepted, and each change of those that have not ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from deploy.local.events.client import LedgerClient
from shared.domain.errors import ConfigurationError
from shared.ledger.answers import Event, Listed
from shared.ledger.records import Status

PAGE = 500
PAUSE_S = 1.0
PAGES_MAX = 20
"""Of one look: where more comes in a second, not all of it is shown, which is said."""
LATE_S = 15
"""An event may show up in the ledger so long after it was accepted, and later where Kafka or Postgres was away."""
OPEN_MAX = 1_000
"""Events that have not ended and are looked at again; the oldest are no longer."""
ASKED_AT_ONCE = 100
BY_HAND = ("status", "error")
"""Filters that what is shown has to pass, and what is looked at has not: an event may come to pass them."""
STATUSES = frozenset(status.label for status in Status)


class Following:
    """show: what is to be shown, each once for each of its states."""

    def __init__(self, client: LedgerClient, asked: Mapping[str, str], show: Callable[[Event], None]) -> None:
        self._client = client
        self._asked = {name: value for name, value in asked.items() if name not in BY_HAND}
        named = [name for name in asked.get("status", "").split(",") if name]
        self._statuses = [name for name in named if name in STATUSES]
        self._happened = [name for name in named if name not in STATUSES]
        self._error = asked.get("error", "").lower()
        self._show = show
        self._began = _iso(time.time())
        self._seen: dict[str, tuple[str, str, int, str]] = {}
        self._open: dict[str, None] = {}

    def look(self) -> bool:
        """Show what is new. False where there was more than one look takes."""
        since = self._asked.get("since") or max(self._began, _iso(time.time() - LATE_S))
        found, whole = self._new({**self._asked, "since": since, "limit": str(PAGE)})
        waiting = list(self._open)
        for begin in range(0, len(waiting), ASKED_AT_ONCE):
            some = ",".join(waiting[begin : begin + ASKED_AT_ONCE])
            found += self._client.get("", {"request_id": some, "limit": str(PAGE)}, Listed).events
        for event in sorted(found, key=lambda event: event.accepted_at):
            self._take(event)
        self._forget(since)
        return whole

    def _new(self, asked: Mapping[str, str]) -> tuple[list[Event], bool]:
        """Page by page until everything on one is known already."""
        found: list[Event] = []
        after: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = self._client.get("", {**asked, **after}, Listed)
            found += page.events
            if page.next is None or all(event.request_id in self._seen for event in page.events):
                return found, True
            after = {"after": page.next}
        return found, False

    def _take(self, event: Event) -> None:
        state = (event.accepted_at, event.status, event.attempts, ",".join(event.deliveries))
        if self._seen.get(event.request_id) == state:
            return
        self._seen[event.request_id] = state
        if event.ended:
            self._open.pop(event.request_id, None)
        else:
            self._open[event.request_id] = None
        if self._passes(event):
            self._show(event)

    def _passes(self, event: Event) -> bool:
        if self._statuses and event.status not in self._statuses:
            return False
        if self._happened and not any(each.split(" ", 1)[0] in self._happened for each in event.deliveries):
            return False
        return self._error in f"{event.error or ''}\n{event.reason or ''}".lower()

    def _forget(self, since: str) -> None:
        """What no look brings any more."""
        while len(self._open) > OPEN_MAX:
            del self._open[next(iter(self._open))]
        gone = [each for each, (accepted_at, *_) in self._seen.items() if accepted_at < since and each not in self._open]
        for each in gone:
            del self._seen[each]


def follow(client: LedgerClient, asked: Mapping[str, str], show: Callable[[Event], None]) -> NoReturn:
    """Until it is interrupted; an endpoint that cannot answer for a while is asked again. Raises ConfigurationError with what
    it says at first."""
    client.get("", {**asked, "limit": "1"}, Listed)
    following = Following(client, asked, show)
    whole = following.look()
    while True:
        if not whole:
            print("more comes than is shown here", file=sys.stderr)
        sys.stdout.flush()
        time.sleep(PAUSE_S)
        try:
            whole = following.look()
        except ConfigurationError as error:
            print(f"lambdad: {error}", file=sys.stderr)


def _iso(unix_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
