"""What `lambdad events` and its subcommands do."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from deploy.local.events import words
from deploy.local.events.client import LedgerClient
from deploy.local.events.documents import Cancelling, Counted, Event, Listed, Redriven, RedrivenAll, Replayed, Shown
from shared.domain.errors import ConfigurationError

PAGE = 500
ACTED_ON_MAX = 1_000
FOLLOW_S = 1.0
FOLLOWED_MAX = 1_000
"""Events that have not ended and are looked at again; the oldest are no longer."""
LATE_S = 15
"""An event may show up in the ledger so long after it was accepted, and later where Kafka or Postgres was away."""
_NAMED = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def client_of(data_dir: Path, given: Mapping[str, str] = os.environ) -> LedgerClient:
    """Of the cluster in the data directory; else of the one that the usual AWS variables name. Raises ConfigurationError."""
    from deploy.local.layout import DataDir
    from deploy.local.status import environment

    try:
        return LedgerClient(environment(DataDir.at(data_dir)))
    except ConfigurationError:
        if not all(given.get(name) for name in _NAMED):
            raise
        return LedgerClient(given)


def run_list(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir)
    if options.count:
        print(client.get("/count", _filter(options), Counted).count)
        return 0
    if options.follow:
        return _follow(client, options)
    left, after = options.lines, ""
    if not options.json:
        print(words.columns(words.HEAD))
    while left > 0:
        page = {"limit": str(min(left, PAGE)), **({"after": after} if after else {})}
        found = client.get("", {**_filter(options), **page}, Listed)
        for event in found.events:
            _print(event, as_json=options.json)
        left, after = left - len(found.events), found.next or ""
        if not after:
            break
    return 0


def run_show(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir)
    if options.payload:
        sys.stdout.buffer.write(client.read(f"/{options.id}/payload"))
        return 0
    found = client.get(f"/{options.id}", {}, Shown)
    print(msgspec.json.encode(found).decode() if options.json else words.shown(found))
    return 0


def run_redrive(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir)
    if options.queue:
        asked = {"queue": options.queue, "max": options.max, "function": options.function or "", "qualifier": options.version}
        done = client.post("/redrive-queue", asked, RedrivenAll).redriven
    else:
        chosen = _chosen(client, options, "run again")
        if chosen is None:
            return 1
        done = client.post(
            "/redrive", {"events": chosen, "max": options.max, "qualifier": options.version}, RedrivenAll
        ).redriven
    return _tell_redriven(done, as_json=options.json)


def run_cancel(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir)
    chosen = _chosen(client, options, "cancelled")
    if chosen is None:
        return 1
    found = client.post("/cancel", {"events": chosen, "max": options.max}, Cancelling)
    for event_id in found.cancelling:
        print(f"{event_id} will not be run, unless it runs already")
    print(f"{len(found.cancelling)} events were taken back.", file=sys.stderr)
    return 0 if found.cancelling else 1


def run_replay(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir)
    found = client.post(f"/{options.id}/replay", {"version": options.version, "against": options.against}, Replayed)
    print(msgspec.json.encode(found).decode() if options.json else words.replayed(found))
    return 0 if found.same else 1


def _follow(client: LedgerClient, options: argparse.Namespace) -> int:
    """Events as they are accepted, and each change of those that have not ended. Until it is interrupted."""
    asked = _filter(options)
    asked.setdefault("since", _iso(time.time()))
    seen: dict[str, tuple[str, int, str]] = {}
    known: dict[str, Event] = {}
    while True:
        found = client.get("", {**asked, "limit": str(PAGE)}, Listed).events
        waiting = [event_id for event_id, event in known.items() if not event.ended][-200:]
        if waiting:
            found += client.get("", {"request_id": ",".join(waiting), "limit": str(PAGE)}, Listed).events
        for event in sorted(found, key=lambda event: event.accepted_at):
            state = (event.status, event.attempts, ",".join(event.deliveries))
            if seen.get(event.request_id) != state:
                seen[event.request_id] = state
                known[event.request_id] = event
                _print(event, as_json=options.json)
        while len(known) > FOLLOWED_MAX:
            oldest = next(iter(known))
            del known[oldest], seen[oldest]
        if len(known) == FOLLOWED_MAX:
            asked["since"] = max(asked["since"], _iso(time.time() - LATE_S))
        sys.stdout.flush()
        time.sleep(FOLLOW_S)


def _chosen(client: LedgerClient, options: argparse.Namespace, what: str) -> dict[str, object] | None:
    """The filter that the endpoint is to act on; None when the operator does not want it after all.

    Raises ConfigurationError where nothing says which events are meant."""
    if options.id:
        return {"request_id": options.id}
    chosen = _filter(options)
    if not chosen:
        raise ConfigurationError("say which: request ids, or a filter (--function, --status, --since, --until, --error)")
    found = client.get("/count", chosen, Counted).count
    acted_on = min(found, options.max)
    print(f"{found} events are so; {acted_on} of them (the newest) will be {what}.", file=sys.stderr)
    if not acted_on or not (options.yes or _agrees()):
        return None
    many: dict[str, object] = {**chosen}
    if "status" in chosen:
        many["status"] = chosen["status"].split(",")
    return many


def _agrees() -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked: say --yes")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _tell_redriven(done: list[Redriven], *, as_json: bool) -> int:
    for each in done:
        print(msgspec.json.encode(each).decode() if as_json else words.redriven(each))
    again = sum(each.became is not None for each in done)
    print(f"{again} of {len(done)} run again.", file=sys.stderr)
    return 0 if done and again == len(done) else 1


def _filter(options: argparse.Namespace) -> dict[str, str]:
    values = {
        "function": options.function,
        "status": ",".join(options.status or []),
        "since": options.since,
        "until": options.until,
        "error": options.error,
    }
    return {name: value for name, value in values.items() if value}


def _print(event: Event, *, as_json: bool) -> None:
    print(msgspec.json.encode(event).decode() if as_json else words.row(event))


def _iso(unix_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_s))
