"""Queries on archives. Writers hold the lock on the archive's bus where there is one (`buses.lock`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.event_buses import Archive
from shared.registry.events.buses import touch
from shared.registry.events.tables import ArchiveTable

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    ArchiveTable.name.expression,
    ArchiveTable.bus.expression,
    ArchiveTable.description.expression,
    ArchiveTable.pattern.expression,
    ArchiveTable.retention_days.expression,
    ArchiveTable.settings.expression,
    ArchiveTable.topic.expression,
    ArchiveTable.created_ms.expression,
    ArchiveTable.events.expression,
    ArchiveTable.size_bytes.expression,
)


def _of(home: Home, row: Any) -> Archive:
    return Archive(home, *row)


def _the(home: Home, name: str) -> tuple[ColumnElement[bool], ...]:
    return ArchiveTable.region == home.region, ArchiveTable.name == name


async def find(connection: AsyncConnection, home: Home, name: str, *, lock: bool = False) -> Archive | None:
    statement = select(*_COLUMNS).where(*_the(home, name))
    row = (await connection.execute(statement.with_for_update() if lock else statement)).first()
    return None if row is None else _of(home, row)


async def create(connection: AsyncConnection, archive: Archive) -> bool:
    """False when there is such an archive already."""
    statement = (
        insert(ArchiveTable)
        .values(
            region=archive.home.region,
            name=archive.name,
            bus=archive.bus,
            description=archive.description,
            pattern=archive.pattern,
            retention_days=archive.retention_days,
            settings=archive.settings,
            topic=archive.topic,
            created_ms=archive.created_ms,
            events=0,
            size_bytes=0,
        )
        .on_conflict_do_nothing(index_elements=[ArchiveTable.region, ArchiveTable.name])
        .returning(ArchiveTable.name)
    )
    made = (await connection.execute(statement)).first() is not None
    if made:
        await touch(connection, archive.home, archive.bus)
    return made


async def change(connection: AsyncConnection, archive: Archive, **values: Any) -> None:
    """values: by column."""
    await connection.execute(update(ArchiveTable).where(*_the(archive.home, archive.name)).values(**values))
    await touch(connection, archive.home, archive.bus)


async def remove(connection: AsyncConnection, archive: Archive) -> None:
    await connection.execute(delete(ArchiveTable).where(*_the(archive.home, archive.name)))
    await touch(connection, archive.home, archive.bus)


async def page(
    connection: AsyncConnection, home: Home, after: str, limit: int, *, prefix: str = "", bus: str | None = None
) -> list[Archive]:
    wanted = [ArchiveTable.region == home.region, ArchiveTable.name > after]
    wanted.append(ArchiveTable.name.startswith(prefix, autoescape=True) if bus is None else ArchiveTable.bus == bus)
    statement = select(*_COLUMNS).where(*wanted).order_by(ArchiveTable.name).limit(limit)
    return [_of(home, row) for row in await connection.execute(statement)]


async def of_bus(connection: AsyncConnection, home: Home, bus: str) -> list[Archive]:
    statement = select(*_COLUMNS).where(ArchiveTable.region == home.region, ArchiveTable.bus == bus)
    return [_of(home, row) for row in await connection.execute(statement)]


async def count(connection: AsyncConnection, home: Home) -> int:
    statement = select(func.count()).select_from(ArchiveTable).where(ArchiveTable.region == home.region)
    return int((await connection.execute(statement)).scalar_one())


async def add(connection: AsyncConnection, archived: Mapping[str, tuple[int, int]]) -> None:
    """Counts what has been archived. archived: events and bytes by the archive's topic, which no other archive ever has."""
    for topic, (events, size_bytes) in sorted(archived.items()):
        counted = {"events": ArchiveTable.events + events, "size_bytes": ArchiveTable.size_bytes + size_bytes}
        await connection.execute(update(ArchiveTable).where(ArchiveTable.topic == topic).values(**counted))
