"""PutEvents: what is accepted is on every in-sync replica before the answer."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from prometheus_client import Counter

from services.frontend.apis.events.context import EventsContext, Reply
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.aws.service_model import Operation
from shared.aws.validation import validate
from shared.domain.arns import Home, home_of
from shared.domain.errors import ValidationException
from shared.domain.event_buses import bus_name
from shared.events.bus_events import BusEvent, without_blanks

ENTRIES_MAX = 10
SIZE_BYTES_MAX = 256 * 1024
TIME_BYTES = 14
ACCEPTED = Counter("lambdad_bus_events_accepted_total", "Events of buses that Kafka has acknowledged")
UNKNOWN_BUS = Counter("lambdad_bus_events_unknown_bus_total", "Events that were put on a bus that does not exist")

_MEMBERS = {
    "time": "Time",
    "source": "Source",
    "resources": "Resources",
    "detailType": "DetailType",
    "detail": "Detail",
    "eventBusName": "EventBusName",
    "traceHeader": "TraceHeader",
    "kmsKeyIdentifier": "KmsKeyIdentifier",
    "internalMetadata": "",
}
"""In the order in which AWS prints an entry."""


def check(operation: Operation, params: Params) -> None:
    """The model's constraints, and AWS's way of printing entries that are too many. Raises ValidationException."""
    entries = params.get("Entries")
    if operation.name == "PutEvents" and entries is not None and len(entries) > ENTRIES_MAX:
        printed = ", ".join(map(_printed, entries))
        raise ValidationException(
            f"1 validation error detected: Value '[{printed}]' at 'entries' failed to satisfy constraint: "
            f"Member must have length less than or equal to {ENTRIES_MAX}"
        )
    validate(operation, params)


def _printed(entry: dict[str, Any] | None) -> str:
    values = [(name, (entry or {}).get(member)) for name, member in _MEMBERS.items()]
    told = ", ".join(f"{name}={'null' if value is None else _plain(value)}" for name, value in values)
    return f"PutEventsRequestEntry({told})"


def _plain(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


async def put_events(ctx: EventsContext, call: Call, params: Params) -> Reply:
    entries = params["Entries"]
    if sum(map(_size_bytes, entries)) > SIZE_BYTES_MAX:
        raise ValidationException("Total size of the entries in the request is over the limit.")
    now_ms = time.time_ns() // 1_000_000
    header = call.headers.get(b"x-amzn-trace-id")
    answers: list[dict[str, Any]] = []
    accepted: list[BusEvent] = []
    for entry in entries:
        refused = _refusal(entry)
        if refused is not None:
            answers.append({"ErrorCode": refused[0], "ErrorMessage": refused[1]})
            continue
        event = await _event(ctx, call.home, entry, now_ms, header.decode("latin-1") if header else None)
        answers.append({"EventId": event.event_id})
        if event.revision:
            accepted.append(event)
        else:
            # As at AWS, whoever puts events learns nothing of it.
            UNKNOWN_BUS.inc()
    await ctx.put(accepted)
    ACCEPTED.inc(len(accepted))
    return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}


async def _event(ctx: EventsContext, home: Home, entry: dict[str, Any], now_ms: int, trace: str | None) -> BusEvent:
    named = entry.get("EventBusName")
    there = home_of(named) if named and named.startswith("arn:") else home
    name = bus_name(named)
    bus = await ctx.buses.find(there, name) if there.account_id == home.account_id else None
    at = entry.get("Time")
    return BusEvent(
        event_id=str(uuid.uuid4()),
        bus_account=there.account_id,
        bus_region=there.region,
        bus=name,
        source=entry["Source"],
        detail_type=entry["DetailType"],
        detail=without_blanks(entry["Detail"].encode()),
        account=home.account_id,
        region=home.region,
        at_ms=now_ms if at is None else int(at * 1_000),
        ingested_at_ms=now_ms,
        resources=tuple(entry.get("Resources") or ()),
        revision=0 if bus is None else bus.revision,
        trace=entry.get("TraceHeader") or trace,
    )


def _size_bytes(entry: dict[str, Any]) -> int:
    texts = [entry.get("Source"), entry.get("DetailType"), entry.get("Detail"), *(entry.get("Resources") or ())]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts if text)
    return size + (TIME_BYTES if entry.get("Time") is not None else 0)


def _refusal(entry: dict[str, Any]) -> tuple[str, str] | None:
    for member in ("Source", "DetailType", "Detail"):
        if not entry.get(member):
            return "InvalidArgument", f"Parameter {member} is not valid. Reason: {member} is a required argument."
    if entry["Source"].startswith("aws."):
        return "NotAuthorizedForSourceException", "Not authorized for the source."
    try:
        detail = json.loads(entry["Detail"], parse_constant=_refuse)
        entry["Detail"].encode()
    except (ValueError, RecursionError):
        detail = None
    return None if isinstance(detail, dict) else ("MalformedDetail", "Detail is malformed.")


def _refuse(text: str) -> None:
    raise ValueError(text)
