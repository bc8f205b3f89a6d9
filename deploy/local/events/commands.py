"""What `lambdad events` and its subcommands do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from deploy.local.events import words
from deploy.local.events.client import LedgerClient
from deploy.local.events.following import follow
from shared.domain.errors import ConfigurationError
from shared.ledger.answers import (
    Cancelling,
    Counted,
    Event,
    Listed,
    ListedDeliveries,
    Redriven,
    RedrivenAll,
    Replayed,
    Shown,
)
from shared.ledger.records import Status

P = TypeVar("P", Listed, ListedDeliveries)

PAGE = 500
REPLAY_S = 4 * 3_600.0
"""The endpoint bounds a replay by what its functions may take."""
OPEN = ",".join(status.label for status in Status if not status.ended)
"""What is cancelled where nothing else is said."""


def client_of(data_dir: Path, region: str | None = None, given: Mapping[str, str] = os.environ) -> LedgerClient:
    """Of the cluster in the data directory; else of the one that AWS_ENDPOINT_URL names, with the keys that AWS's tools would
    use. region: None for the one that is named with them. Raises ConfigurationError."""
    from deploy.local.layout import DataDir
    from deploy.local.status import environment

    try:
        found = environment(DataDir.at(data_dir))
    except ConfigurationError:
        endpoint = given.get("AWS_ENDPOINT_URL")
        if not endpoint:
            raise
        return LedgerClient.by_aws_configuration(endpoint, region or given.get("AWS_REGION"))
    return LedgerClient.of(found if region is None else found | {"AWS_REGION": region})


def run_list(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir, options.region)
    if options.count:
        print(client.get("/count", _filter(options), Counted).count)
        return 0
    if options.follow:
        follow(client, _filter(options), lambda event: _print(event, as_json=options.json))
    for number, page in enumerate(_pages(client, "", _filter(options), Listed, options.lines)):
        if not number and not options.json:
            print(words.columns(words.HEAD))
        for event in page.events:
            _print(event, as_json=options.json)
    return 0


def run_deliveries(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir, options.region)
    given = {name: getattr(options, name) for name in ("of", "to", "since", "until")} | {"what": ",".join(options.became or [])}
    asked = {name: value for name, value in given.items() if value}
    for number, page in enumerate(_pages(client, "/deliveries", asked, ListedDeliveries, options.lines)):
        if not number and not options.json:
            print(words.deliveries_head())
        for each in page.deliveries:
            print(msgspec.json.encode(each).decode() if options.json else words.delivery(each))
    return 0


def run_show(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir, options.region)
    if options.payload:
        sys.stdout.buffer.write(client.read(f"/{options.id}/payload"))
        return 0
    found = client.get(f"/{options.id}", {}, Shown)
    print(msgspec.json.encode(found).decode() if options.json else words.shown(found))
    return 0


def run_redrive(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir, options.region)
    if options.queue:
        if options.id or set(_filter(options)) - {"function"}:
            raise ConfigurationError(
                "--queue takes whatever messages there are: of the other filters only --function goes with it"
            )
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
    client = client_of(options.data_dir, options.region)
    if not options.id and not options.status and _filter(options):
        options.status = [OPEN]
    chosen = _chosen(client, options, "cancelled")
    if chosen is None:
        return 1
    found = client.post("/cancel", {"events": chosen, "max": options.max}, Cancelling)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        for event_id in found.cancelling:
            print(f"{event_id} will not be run, unless it runs already")
        for each in found.left:
            print(f"{each.request_id} was not taken back: {each.why}")
    print(f"{len(found.cancelling)} events were taken back.", file=sys.stderr)
    return 0 if found.cancelling and not found.left else 1


def run_replay(options: argparse.Namespace) -> int:
    client = client_of(options.data_dir, options.region)
    found = client.post(
        f"/{options.id}/replay", {"version": options.version, "against": options.against}, Replayed, timeout_s=REPLAY_S
    )
    print(msgspec.json.encode(found).decode() if options.json else words.replayed(found))
    return 0 if found.same else 1


def _pages(client: LedgerClient, path: str, asked: Mapping[str, str], kind: type[P], lines: int) -> Iterator[P]:
    """Of the first so many lines."""
    after: dict[str, str] = {}
    for begin in range(0, lines, PAGE):
        page = client.get(path, {**asked, **after, "limit": str(min(lines - begin, PAGE))}, kind)
        yield page
        if page.next is None:
            return
        after = {"after": page.next}


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
