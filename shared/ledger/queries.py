"""What the ledger is asked: which events, how many, what happened to one. Read only; bounded in rows and in time.

Newest first. A page goes on behind the last row of the one before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home, function_arn
from shared.ledger.joining import as_uuid, storable
from shared.ledger.records import Status, StepKind

LIMIT_MAX = 1_000
COUNT_MAX = 1_000_000
STEPS_MAX = 10_000
"""Of which the newest are looked at where events are sought by what happened to them."""
FUTURE_MS = 2**53
NOT_SUCCEEDED = f"e.status <> {Status.SUCCEEDED.value}"
"""As the index of those says it, so that it is used."""

_COLUMNS = (
    "e.id::text AS event_id, f.arn AS function_arn, e.qualifier, e.status, e.accepted_ms, e.started_after_ms, "
    "e.changed_after_ms, e.topic_partition, e.topic_offset, e.attempts, e.version, e.reason, e.next_ms, e.error"
)


Moment = Annotated[int, msgspec.Meta(ge=0, le=FUTURE_MS)]
"""Unix milliseconds of a row."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Of an event in a list: a page begins behind it."""

    accepted_ms: Moment
    event_id: str


class Asked(msgspec.Struct, frozen=True):
    """Which events. function: a name; "" for all. statuses, steps: any of them; none for all. since_ms, until_ms: when they
    were accepted, Unix milliseconds, half open. error: a part of the error or reason, upper and lower case alike. ids: only
    these."""

    function: str = ""
    qualifier: str | None = None
    statuses: tuple[Status, ...] = ()
    steps: tuple[StepKind, ...] = ()
    since_ms: int = 0
    until_ms: int = FUTURE_MS
    error: str = ""
    ids: tuple[str, ...] | None = None


class LedgerEvent(msgspec.Struct, frozen=True):
    """An event as the ledger has it: see `shared.ledger.records.EventEntry`. Times are Unix milliseconds, None for none."""

    event_id: str
    function_arn: str
    qualifier: str | None
    status: Status
    accepted_ms: int
    started_ms: int | None
    changed_ms: int
    partition: int
    offset: int
    attempts: int
    version: str | None
    reason: str | None
    next_ms: int | None
    error: str | None

    @property
    def position(self) -> Position:
        return Position(self.accepted_ms, self.event_id)

    @property
    def function_name(self) -> str:
        return self.function_arn.rpartition(":")[2]


class LedgerStep(msgspec.Struct, frozen=True):
    """Something that happened: see `shared.ledger.records.StepEntry`."""

    event_id: str
    at_ms: int
    kind: StepKind
    target: str | None
    detail: str | None
    source: str | None


async def find(
    connection: AsyncConnection, home: Home, asked: Asked, *, limit: int, after: Position | None = None
) -> list[LedgerEvent]:
    """The newest `limit` of them, behind `after`."""
    statement, values = _select(home, asked, min(limit, LIMIT_MAX), after)
    return [_event(row) for row in (await connection.execute(text(statement), values)).mappings()]


async def count(connection: AsyncConnection, home: Home, asked: Asked) -> int:
    """How many there are, COUNT_MAX for more."""
    statement, values = _select(home, asked, COUNT_MAX, None, "e.id")
    return int((await connection.execute(text(f"SELECT count(*) FROM ({statement}) AS found"), values)).scalar_one())


async def steps_of(connection: AsyncConnection, event_ids: Collection[str]) -> dict[str, list[LedgerStep]]:
    """What happened to each, the oldest first."""
    if not event_ids:
        return {}
    rows = await connection.execute(
        text(
            "SELECT id::text AS event_id, at_ms, kind, target, detail, source FROM ledger_steps "
            f"WHERE id = ANY(:ids) ORDER BY at_ms, kind LIMIT {STEPS_MAX}"
        ),
        {"ids": [as_uuid(event_id) for event_id in event_ids]},
    )
    found: dict[str, list[LedgerStep]] = {}
    for row in rows.mappings():
        step = LedgerStep(**{**row, "kind": StepKind(row["kind"])})
        found.setdefault(step.event_id, []).append(step)
    return found


def _select(
    home: Home, asked: Asked, limit: int, after: Position | None, columns: str = _COLUMNS
) -> tuple[str, dict[str, Any]]:
    functions, values = _functions(home, asked)
    values |= {"since": asked.since_ms, "until": asked.until_ms, "limit": limit}
    wanted = ["e.accepted_ms >= :since", "e.accepted_ms < :until"]
    rare = bool(asked.statuses) and Status.SUCCEEDED not in asked.statuses
    if asked.statuses:
        wanted.append("e.status = ANY(:statuses)")
        values["statuses"] = [status.value for status in asked.statuses]
    if asked.error:
        rare = True
        wanted.append("(strpos(lower(e.error), lower(:error)) > 0 OR strpos(lower(e.reason), lower(:error)) > 0)")
        values["error"] = storable(asked.error)
    if asked.qualifier is not None:
        # Who names none has $LATEST run.
        wanted.append("coalesce(e.qualifier, '$LATEST') = :qualifier")
        values["qualifier"] = asked.qualifier
    if asked.ids is not None:
        wanted.append("e.id = ANY(:ids)")
        values["ids"] = [as_uuid(event_id) for event_id in asked.ids]
    if asked.steps:
        wanted.append(
            "e.id IN (SELECT id FROM ledger_steps WHERE kind = ANY(:kinds) AND at_ms >= :since "
            f"ORDER BY at_ms DESC LIMIT {STEPS_MAX})"
        )
        values["kinds"] = [kind.value for kind in asked.steps]
    if after is not None:
        wanted.append("(e.accepted_ms, e.id) < (:after_ms, CAST(:after_id AS uuid))")
        values |= {"after_ms": after.accepted_ms, "after_id": as_uuid(after.event_id)}
    if rare:
        wanted.append(NOT_SUCCEEDED)
    where = " AND ".join(wanted)
    order = "ORDER BY e.accepted_ms DESC, e.id DESC LIMIT :limit"
    if rare or asked.ids is not None or asked.steps:
        # Few, or by an index of their own.
        return f"SELECT {columns} FROM ledger_events e JOIN {functions} ON f.id = e.function_id WHERE {where} {order}", values
    # Of each function its newest, by the index that begins with the function; of these the newest.
    own = f"SELECT * FROM ledger_events e WHERE e.function_id = f.id AND {where} {order}"
    return f"SELECT {columns} FROM {functions} CROSS JOIN LATERAL ({own}) e {order}", values


def _functions(home: Home, asked: Asked) -> tuple[str, dict[str, Any]]:
    if asked.function:
        return "(SELECT * FROM ledger_functions WHERE arn = :arn) f", {"arn": function_arn(home, asked.function)}
    return "(SELECT * FROM ledger_functions WHERE starts_with(arn, :arn)) f", {"arn": function_arn(home, "")}


def _event(row: Any) -> LedgerEvent:
    accepted_ms, started_ms = row["accepted_ms"], row["started_after_ms"]
    return LedgerEvent(
        row["event_id"],
        row["function_arn"],
        row["qualifier"],
        Status(row["status"]),
        accepted_ms,
        None if started_ms < 0 else accepted_ms + started_ms,
        accepted_ms + row["changed_after_ms"],
        row["topic_partition"],
        row["topic_offset"],
        row["attempts"],
        row["version"],
        row["reason"],
        row["next_ms"],
        row["error"],
    )


def statuses_named(names: Sequence[str]) -> tuple[tuple[Status, ...], tuple[StepKind, ...]]:
    """Of words as people use them: an event's status, or what happened to it or its delivery. Raises KeyError with the word."""
    statuses = {status.label: status for status in Status}
    kinds = {kind.label: kind for kind in StepKind}
    return (
        tuple(statuses[name] for name in names if name in statuses),
        tuple(kinds[name] for name in names if name not in statuses),
    )
