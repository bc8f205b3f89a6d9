"""How events, their history and differences of answers look on a terminal."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator

from shared.ledger.answers import Answer, Delivery, Event, Redriven, Replayed, Shown

ERROR_CHARS = 60
_WIDTHS = (24, 36, 24, 10, 8)
_DELIVERY_WIDTHS = (24, 36, 16)
DELIVERIES_HEAD = ("AT", "OF EVENT OR MESSAGE", "WHAT", "")
HEAD = ("ACCEPTED", "REQUEST ID", "FUNCTION", "STATUS", "ATTEMPTS", "")


def row(event: Event) -> str:
    name = event.function if event.qualifier is None else f"{event.function}:{event.qualifier}"
    return columns((event.accepted_at, event.request_id, name, event.status, str(event.attempts), _more(event)))


def columns(words: tuple[str, ...], widths: tuple[int, ...] = _WIDTHS) -> str:
    return "  ".join([*(word.ljust(width) for word, width in zip(words, widths, strict=False)), words[-1]]).rstrip()


def deliveries_head() -> str:
    return columns(DELIVERIES_HEAD, _DELIVERY_WIDTHS)


def delivery(each: Delivery) -> str:
    more = f"{each.on_behalf_of} -> {each.target}" + (f": {each.detail}" if each.detail else "")
    return columns((each.at, each.request_id, each.what, more), _DELIVERY_WIDTHS)


def _more(event: Event) -> str:
    words = []
    if event.next_at is not None and not event.ended:
        words.append(f"next at {event.next_at}")
    if event.reason:
        words.append(event.reason)
    if event.error:
        words.append(event.error if len(event.error) <= ERROR_CHARS else event.error[: ERROR_CHARS - 1] + "…")
    return "; ".join([*words, *event.deliveries])


def shown(found: Shown) -> str:
    lines = []
    event = found.event
    if event is not None:
        name = event.function if event.qualifier is None else f"{event.function}:{event.qualifier}"
        values = {
            "request id": event.request_id,
            "function": name,
            "version": event.version,
            "status": event.status,
            "reason": event.reason,
            "error": event.error,
            "attempts": str(event.attempts),
            "accepted": event.accepted_at,
            "last started": event.started_at,
            "ended" if event.ended else "since": event.changed_at,
            "next attempt": None if event.ended else event.next_at,
            "stored at": event.stored,
        }
        lines += [f"{label:14}{value}" for label, value in values.items() if value]
    if found.steps:
        lines += ["", "What happened:"] if lines else ["What happened:"]
    for step in found.steps:
        words = [step.what, step.target, step.detail, f"on behalf of {step.on_behalf_of}" if step.on_behalf_of else None]
        lines.append(f"  {step.at}  {'  '.join(word for word in words if word)}")
    return "\n".join(lines)


def redriven(each: Redriven) -> str:
    before = each.request_id or "message"
    return f"{before} -> {each.became}" if each.became else f"{before} was not run again: {each.why}"


def replayed(found: Replayed) -> str:
    title = f"{_of(found.before)}  ->  {_of(found.after)}"
    if found.same:
        return f"{title}: the same answer\n" + "\n".join(f"  {line}" for line in _lines(found.after))
    return "\n".join([title, *_difference(found.before, found.after)])


def _of(answer: Answer) -> str:
    if answer.executed_version is None:
        return f"version {answer.version} (recorded)"
    if answer.version == answer.executed_version:
        return f"version {answer.version}"
    return f"{answer.version} (version {answer.executed_version})"


def _difference(before: Answer, after: Answer) -> Iterator[str]:
    for line in difflib.unified_diff(_lines(before), _lines(after), n=3, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield line


def _lines(answer: Answer) -> list[str]:
    """Documents line by line, their members in one order, so that only what differs in meaning differs."""
    kind = [] if answer.function_error is None else [f"function error: {answer.function_error}"]
    try:
        text = json.dumps(json.loads(answer.payload), indent=2, sort_keys=True, ensure_ascii=False)
    except ValueError:
        text = answer.payload
    return [*kind, *text.splitlines()]
