"""Writes the ledger's rows: in one transaction for many entries, the same again as often as it is asked to.

Events that ran once and went well, which most do, are copied: nothing is looked up for them. Where one of a batch was told of
before, as after a restart, the whole batch is merged instead, and so are the next ones for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
from prometheus_client import Counter, Histogram

from shared.ledger.joining import (
    EVENT_COLUMNS,
    STEP_COLUMNS,
    EventRow,
    Joined,
    event_row,
    ran_once_and_ended,
    step_row,
    with_uuids,
)
from shared.ledger.partitions import Partitions
from shared.ledger.records import EventEntry, Status
from shared.registry.database import asyncpg_url
from shared.settings import Settings

WRITTEN = Counter("lambdad_ledger_events_written_total", "Events whose row was written", ["how"])
STEPS = Counter("lambdad_ledger_steps_written_total", "Steps of events' histories that were written")
OUT_OF_RANGE = Counter(
    "lambdad_ledger_out_of_range_total", "Entries that are older than what is kept, or of no time that can be"
)
SECONDS = Histogram(
    "lambdad_ledger_write_seconds", "One transaction of the ledger", buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
)

FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What may be raised where Postgres is away, or does not take what it is given now."""
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 2.0
MERGE_FOR_S = 10.0
FUNCTIONS_MAX = 100_000
OPEN_MAX = 100_000
"""Events that are remembered to have a row already; where there are more, their ends make whole batches be merged."""

_ENDED = "status >= 10"
_TYPES = (
    *("uuid", "bigint", "bigint", "int", "int", "int"),
    *("smallint", "smallint", "smallint"),
    *("text", "text", "text", "bigint", "text"),
)
_STEP_TYPES = ("uuid", "bigint", "smallint", "bigint", "text", "text", "text")


def _unnest(types: Sequence[str]) -> str:
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))


_FROM = f"INSERT INTO ledger_events AS known ({', '.join(EVENT_COLUMNS)}) SELECT * FROM unnest({_unnest(_TYPES)})"
_MERGE = f"""{_FROM} ON CONFLICT (id, accepted_ms) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in EVENT_COLUMNS if name not in ("id", "accepted_ms"))}
    WHERE (excluded.{_ENDED}, excluded.changed_after_ms) >= (known.{_ENDED}, known.changed_after_ms)"""
_ADD = f"{_FROM} ON CONFLICT (id, accepted_ms) DO NOTHING"
_STEPS = f"""INSERT INTO ledger_steps ({", ".join(STEP_COLUMNS)}) SELECT * FROM unnest({_unnest(_STEP_TYPES)})
    ON CONFLICT DO NOTHING"""
_FUNCTIONS = """WITH added AS (INSERT INTO ledger_functions (arn) SELECT * FROM unnest($1::text[])
    ON CONFLICT (arn) DO NOTHING RETURNING id, arn)
    SELECT id, arn FROM added UNION ALL SELECT id, arn FROM ledger_functions WHERE arn = ANY($1::text[])"""


class LedgerStore:
    """One connection, made when it is needed. Methods raise FAILURES; the next call begins with a new connection."""

    def __init__(self, settings: Settings) -> None:
        self._dsn = asyncpg_url(settings.database_url).set(drivername="postgresql").render_as_string(False)
        self._partitions = Partitions(settings.ledger)
        self._connection: asyncpg.Connection | None = None
        self._functions: dict[str, int] = {}
        self._merging_until = 0.0
        self._open: dict[str, None] = {}
        self._turn = asyncio.Lock()

    async def write(self, joined: Joined) -> None:
        """Entries of services. Returns when Postgres has them durably."""
        async with self._turn:
            try:
                with SECONDS.time():
                    await self._write(await self._connected(), joined)
            except BaseException:
                await self._drop()
                raise

    async def add_queued(self, entries: Sequence[tuple[EventEntry, str]]) -> None:
        """Events that nothing was told of yet; what is known of an event already stays."""
        async with self._turn:
            try:
                connection = await self._connected()
                rows = await self._rows(connection, with_uuids(entries))
                if rows:
                    await connection.execute(_ADD, *_columns(rows))
                    WRITTEN.labels("queued").inc(len(rows))
                    # Their ends will meet these rows.
                    self._merging_until = time.monotonic() + MERGE_FOR_S
            except BaseException:
                await self._drop()
                raise

    async def tend(self) -> None:
        """Partitions: to be called every few minutes."""
        async with self._turn:
            try:
                await self._partitions.tend(await self._connected(), _now_ms())
            except BaseException:
                await self._drop()
                raise

    async def close(self) -> None:
        await self._drop()

    async def _write(self, connection: asyncpg.Connection, joined: Joined) -> None:
        entries = list(joined.events.values())
        try:
            await self._write_entries(connection, entries, joined)
        except (asyncpg.DataError, ValueError):
            # Ids that are no UUIDs come from outside of the platform, if ever: only then is each looked at.
            await self._write_entries(connection, with_uuids(entries), joined)

    async def _write_entries(
        self, connection: asyncpg.Connection, entries: Sequence[tuple[EventEntry, str]], joined: Joined
    ) -> None:
        rows = await self._rows(connection, entries)
        now_ms = _now_ms()
        steps = [step_row(step) for step in joined.steps if self._partitions.takes(step.at_ms, now_ms)]
        await self._make_partitions(connection, (row[1] for row in steps))
        copied, merged = self._divide(rows, entries)
        try:
            await self._commit(connection, copied, merged, steps)
        except asyncpg.UniqueViolationError:
            self._merging_until = time.monotonic() + MERGE_FOR_S
            copied, merged = [], [*copied, *merged]
            await self._commit(connection, copied, merged, steps)
        self._remember(entries)
        WRITTEN.labels("copied").inc(len(copied))
        WRITTEN.labels("merged").inc(len(merged))
        STEPS.inc(len(steps))

    def _divide(self, rows: list[EventRow], entries: Sequence[tuple[EventEntry, str]]) -> tuple[list[EventRow], list[EventRow]]:
        if time.monotonic() < self._merging_until:
            return [], rows
        known = self._open
        often = {entry.event_id for entry, _ in entries if entry.event_id in known or not ran_once_and_ended(entry)}
        if not often:
            return rows, []
        return [row for row in rows if row[0] not in often], [row for row in rows if row[0] in often]

    def _remember(self, entries: Sequence[tuple[EventEntry, str]]) -> None:
        """Which rows are there that their events' ends will meet."""
        known = self._open
        for entry, _ in entries:
            if entry.status < Status.SUCCEEDED:
                known[entry.event_id] = None
            elif known:
                known.pop(entry.event_id, None)
        while len(known) > OPEN_MAX:
            del known[next(iter(known))]

    async def _commit(
        self, connection: asyncpg.Connection, copied: list[EventRow], merged: list[EventRow], steps: list[Any]
    ) -> None:
        async with connection.transaction():
            if copied:
                await connection.copy_records_to_table("ledger_events", records=copied, columns=EVENT_COLUMNS)
            if merged:
                await connection.execute(_MERGE, *_columns(merged))
            if steps:
                await connection.execute(_STEPS, *_columns(steps))

    async def _rows(self, connection: asyncpg.Connection, entries: Sequence[tuple[EventEntry, str]]) -> list[EventRow]:
        """Of those entries that have a place in time; with their partitions there."""
        functions = self._functions
        missing = {arn for _, arn in entries if arn not in functions}
        if missing:
            if len(functions) > FUNCTIONS_MAX:
                functions.clear()
                missing = {arn for _, arn in entries}
            for row in await connection.fetch(_FUNCTIONS, sorted(missing)):
                functions[row["arn"]] = row["id"]
        now_ms, takes = _now_ms(), self._partitions.takes
        rows = [event_row(entry, functions[arn]) for entry, arn in entries if takes(entry.accepted_at_ms, now_ms)]
        if len(rows) < len(entries):
            OUT_OF_RANGE.inc(len(entries) - len(rows))
        await self._make_partitions(connection, (row[1] for row in rows))
        return rows

    async def _make_partitions(self, connection: asyncpg.Connection, times_ms: Iterable[int]) -> None:
        lacking = self._partitions.lacks(times_ms)
        if lacking:
            await self._partitions.make(connection, lacking)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={
                    "application_name": "lambdad-ledger",
                    "jit": "off",
                    "statement_timeout": str(int(COMMAND_TIMEOUT_S * 1_000)),
                    "idle_in_transaction_session_timeout": str(int(COMMAND_TIMEOUT_S * 1_000)),
                },
            )
        return self._connection

    async def _drop(self) -> None:
        """Whatever went wrong: partitions and functions may be others when Postgres is back."""
        self._partitions.forget()
        self._functions.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=CLOSE_TIMEOUT_S)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
