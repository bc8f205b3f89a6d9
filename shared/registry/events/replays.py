"""Queries on replays. A router runs a replay under a lease; one that died is gone on with from the offset that it left."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.event_buses import Replay, ReplayState
from shared.registry.events.buses import now_ms
from shared.registry.events.tables import ReplayTable

OPEN = (ReplayState.STARTING.value, ReplayState.RUNNING.value, ReplayState.CANCELLING.value)
_COLUMNS: tuple[ColumnElement[Any], ...] = (
    ReplayTable.name.expression,
    ReplayTable.archive.expression,
    ReplayTable.description.expression,
    ReplayTable.destination.expression,
    ReplayTable.start_ms.expression,
    ReplayTable.end_ms.expression,
    ReplayTable.state.expression,
    ReplayTable.started_ms.expression,
    ReplayTable.reason.expression,
    ReplayTable.ended_ms.expression,
    ReplayTable.last_replayed_ms.expression,
    ReplayTable.offset.expression,
    ReplayTable.changed_ms.expression,
)


def _of(home: Home, row: Any) -> Replay:
    name, archive, description, destination, start_ms, end_ms, state, *rest = row
    return Replay(home, name, archive, description, destination, start_ms, end_ms, ReplayState(state), *rest)


def _the(home: Home, name: str) -> tuple[ColumnElement[bool], ...]:
    return ReplayTable.region == home.region, ReplayTable.name == name


async def find(connection: AsyncConnection, home: Home, name: str) -> Replay | None:
    row = (await connection.execute(select(*_COLUMNS).where(*_the(home, name)))).first()
    return None if row is None else _of(home, row)


async def create(connection: AsyncConnection, replay: Replay) -> bool:
    """False when there is such a replay already."""
    statement = (
        insert(ReplayTable)
        .values(
            region=replay.home.region,
            name=replay.name,
            archive=replay.archive,
            description=replay.description,
            destination=replay.destination,
            start_ms=replay.start_ms,
            end_ms=replay.end_ms,
            state=replay.state.value,
            started_ms=replay.started_ms,
            changed_ms=replay.started_ms,
            lease_ms=0,
        )
        .on_conflict_do_nothing(index_elements=[ReplayTable.region, ReplayTable.name])
        .returning(ReplayTable.name)
    )
    return (await connection.execute(statement)).first() is not None


async def cancel(connection: AsyncConnection, home: Home, name: str) -> bool:
    """False when it has ended, or is being cancelled, already."""
    going = (ReplayState.STARTING.value, ReplayState.RUNNING.value)
    statement = (
        update(ReplayTable)
        .where(*_the(home, name), ReplayTable.state.in_(going))
        .values(state=ReplayState.CANCELLING.value, changed_ms=now_ms())
        .returning(ReplayTable.name)
    )
    return (await connection.execute(statement)).first() is not None


async def claim(connection: AsyncConnection, account_id: str, *, changed_before_ms: int, lease_ms: int) -> Replay | None:
    """One that nobody runs, with its lease until `lease_ms`: the one that waits longest."""
    free = (
        select(ReplayTable.region, ReplayTable.name)
        .where(
            ReplayTable.state.in_(OPEN),
            ReplayTable.lease_ms < now_ms(),
            or_(ReplayTable.state == ReplayState.RUNNING.value, ReplayTable.changed_ms <= changed_before_ms),
        )
        .order_by(ReplayTable.started_ms)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = (await connection.execute(free)).first()
    if found is None:
        return None
    home = Home(account_id, found[0])
    claimed = update(ReplayTable).where(*_the(home, found[1])).values(lease_ms=lease_ms).returning(*_COLUMNS)
    return _of(home, (await connection.execute(claimed)).one())


async def progress(connection: AsyncConnection, replay: Replay, *, lease_ms: int, **values: Any) -> ReplayState:
    """Keeps how far it is and its lease (0: given up). values: by column; a state is kept only where nobody has cancelled it
    meanwhile, unless it ends. -> its state now."""
    state: ReplayState | None = values.pop("state", None)
    if state is not None:
        going = ReplayTable.state != ReplayState.CANCELLING.value
        changed = update(ReplayTable).where(*_the(replay.home, replay.name))
        ends = state not in (ReplayState.STARTING, ReplayState.RUNNING)
        await connection.execute((changed if ends else changed.where(going)).values(state=state.value))
    kept = (
        update(ReplayTable)
        .where(*_the(replay.home, replay.name))
        .values(lease_ms=lease_ms, **values)
        .returning(ReplayTable.state)
    )
    return ReplayState((await connection.execute(kept)).scalar_one())


async def page(
    connection: AsyncConnection,
    home: Home,
    after: str,
    limit: int,
    *,
    prefix: str = "",
    archive: str | None = None,
    state: str | None = None,
) -> list[Replay]:
    wanted = [ReplayTable.region == home.region, ReplayTable.name > after, ReplayTable.name.startswith(prefix, autoescape=True)]
    if archive is not None:
        wanted.append(ReplayTable.archive == archive)
    if state is not None:
        wanted.append(ReplayTable.state == state)
    statement = select(*_COLUMNS).where(*wanted).order_by(ReplayTable.name).limit(limit)
    return [_of(home, row) for row in await connection.execute(statement)]
