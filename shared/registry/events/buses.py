"""Queries on event buses. Writers of anything that belongs to a bus lock it and give it a new revision, so that whoever has
read it sees that something about it changed."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.event_buses import DEFAULT_BUS, Bus, Tags
from shared.registry.events.tables import BusTable
from shared.registry.tables import REVISIONS

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    BusTable.name.expression,
    BusTable.description.expression,
    BusTable.policy.expression,
    BusTable.settings.expression,
    BusTable.tags.expression,
    BusTable.created_ms.expression,
    BusTable.modified_ms.expression,
    BusTable.revision.expression,
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _of(home: Home, row: Any) -> Bus:
    return Bus(home, *row)


def _the(home: Home, name: str) -> tuple[ColumnElement[bool], ...]:
    return BusTable.region == home.region, BusTable.name == name


async def find(connection: AsyncConnection, home: Home, name: str) -> Bus | None:
    """The bus default is there in every region."""
    row = (await connection.execute(select(*_COLUMNS).where(*_the(home, name)))).first()
    if row is None and name == DEFAULT_BUS:
        await create(connection, home, name)
        row = (await connection.execute(select(*_COLUMNS).where(*_the(home, name)))).first()
    return None if row is None else _of(home, row)


async def lock(connection: AsyncConnection, home: Home, name: str) -> Bus | None:
    """The bus, kept from other writers until the transaction ends."""
    if name == DEFAULT_BUS:
        await create(connection, home, name)
    row = (await connection.execute(select(*_COLUMNS).where(*_the(home, name)).with_for_update())).first()
    return None if row is None else _of(home, row)


async def create(
    connection: AsyncConnection,
    home: Home,
    name: str,
    description: str | None = None,
    settings: dict[str, Any] | None = None,
    tags: Tags | None = None,
) -> bool:
    """False when there is such a bus already."""
    at = now_ms()
    statement = (
        insert(BusTable)
        .values(
            region=home.region,
            name=name,
            description=description,
            policy=None,
            settings=settings or {},
            tags=tags or [],
            created_ms=at,
            modified_ms=at,
            revision=REVISIONS.next_value(),
        )
        .on_conflict_do_nothing(index_elements=[BusTable.region, BusTable.name])
        .returning(BusTable.name)
    )
    return (await connection.execute(statement)).first() is not None


async def change(connection: AsyncConnection, home: Home, name: str, **values: Any) -> None:
    """Of a locked bus itself. values: by column."""
    changed = update(BusTable).where(*_the(home, name))
    await connection.execute(changed.values(**values, modified_ms=now_ms(), revision=REVISIONS.next_value()))


async def touch(connection: AsyncConnection, home: Home, name: str) -> None:
    """Gives a bus to which something belongs that changes a new revision."""
    await connection.execute(update(BusTable).where(*_the(home, name)).values(revision=REVISIONS.next_value()))


async def remove(connection: AsyncConnection, home: Home, name: str) -> None:
    """Nothing happens where there is none."""
    await connection.execute(delete(BusTable).where(*_the(home, name)))


async def page(connection: AsyncConnection, home: Home, prefix: str, after: str, limit: int) -> list[Bus]:
    statement = (
        select(*_COLUMNS)
        .where(BusTable.region == home.region, BusTable.name > after, BusTable.name.startswith(prefix, autoescape=True))
        .order_by(BusTable.name)
        .limit(limit)
    )
    return [_of(home, row) for row in await connection.execute(statement)]


async def count(connection: AsyncConnection, home: Home) -> int:
    statement = select(func.count()).select_from(BusTable).where(BusTable.region == home.region)
    return int((await connection.execute(statement)).scalar_one())
