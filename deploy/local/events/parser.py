"""The arguments of `lambdad events`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

LINES = 50
MAX = 100
ACTED_ON_MAX = 1_000
REGION_HELP = "whose functions are meant; the cluster's own by default"


def _number(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is no number from 1 to {most:,}")
        return int(text)

    return number


_LINES = _number(1_000_000)
_MAX = _number(ACTED_ON_MAX)


def add_arguments(events: argparse.ArgumentParser, data_dir_help: str) -> None:
    _add_filter(events)
    events.add_argument("-f", "--follow", action="store_true", help="go on showing events and what becomes of them")
    events.add_argument(
        "-n", "--lines", type=_LINES, default=LINES, metavar="N", help=f"so many at most ({LINES}), the newest first"
    )
    events.add_argument("--count", action="store_true", help="how many there are, and nothing else")
    events.add_argument("--json", action="store_true", help="one JSON document a line")
    events.add_argument("--region", metavar="R", help=REGION_HELP)
    events.set_defaults(what="list")
    what = events.add_subparsers(metavar="show | deliveries | redrive | cancel | replay")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = what.add_parser(name, help=text, description=text)
        added.set_defaults(what=name)
        added.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, metavar="D", help=data_dir_help)
        added.add_argument("--region", default=argparse.SUPPRESS, metavar="R", help=REGION_HELP)
        added.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
        return added

    show = command("show", "one event: its attempts, deliveries and errors")
    show.add_argument("id", metavar="REQUEST_ID")
    show.add_argument("--payload", action="store_true", help="the event itself, and nothing else")
    deliveries = command("deliveries", "what did not reach its target, whoever sent it: functions, topics, rules, schedules")
    deliveries.add_argument(
        "--what",
        dest="became",
        action="append",
        metavar="W",
        help="only these: delivery-retried, delivery-refused, kept (those three by default), delivered, dead-lettered; may be "
        "repeated",
    )
    deliveries.add_argument("--of", metavar="TEXT", help="whose function, subscription, rule or schedule has this in its ARN")
    deliveries.add_argument("--to", metavar="TEXT", help="whose target has this in it")
    deliveries.add_argument("--since", metavar="WHEN", default=argparse.SUPPRESS, help="30s, 10m, 2h, 1d ago, or a time")
    deliveries.add_argument("--until", metavar="WHEN", default=argparse.SUPPRESS, help="before")
    deliveries.add_argument(
        "-n", "--lines", type=_LINES, default=argparse.SUPPRESS, metavar="N", help=f"so many at most ({LINES})"
    )
    redrive = command("redrive", "run events again, each as a new event")
    _add_chosen(redrive)
    redrive.add_argument("--version", metavar="V", help="the version or alias to run; the event's own by default")
    redrive.add_argument("--queue", metavar="NAME", help="the messages of this dead-letter queue instead, which leave it")
    cancel = command("cancel", "take events back that have not run yet")
    _add_chosen(cancel)
    replay = command("replay", "run a stored event against another version, and show what its answer differs in")
    replay.add_argument("id", metavar="REQUEST_ID")
    replay.add_argument("--version", required=True, metavar="V", help="version or alias")
    replay.add_argument(
        "--against",
        metavar="V",
        help="what to compare with: another version or alias, which is run too, or `recorded`; by default the recorded error "
        "of an event that failed, and else the version that ran it",
    )


def _add_chosen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="*", metavar="REQUEST_ID")
    _add_filter(parser, default=argparse.SUPPRESS)
    parser.add_argument("--max", type=_MAX, default=MAX, metavar="N", help=f"so many at most ({MAX}; 1,000 is the bound)")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _add_filter(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument("--function", metavar="NAME", default=default, help="only of this function, or name:alias")
    parser.add_argument(
        "--status",
        action="append",
        default=default,
        metavar="S",
        help="only these: queued, running, retrying, waiting, succeeded, failed, discarded, cancelled; or what happened: "
        "delivered, dead-lettered, delivery-refused, kept, redriven, replayed; may be repeated",
    )
    parser.add_argument("--since", metavar="WHEN", default=default, help="accepted since: 30s, 10m, 2h, 1d ago, or a time")
    parser.add_argument("--until", metavar="WHEN", default=default, help="accepted before")
    parser.add_argument("--error", metavar="TEXT", default=default, help="whose error or reason has this in it")
