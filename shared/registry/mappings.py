"""Queries on event source mappings, for the control plane and for the pollers that run them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import Select, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.errors import ServiceException
from shared.domain.mappings import EventSourceMapping, MappingState
from shared.registry.database import Database
from shared.registry.functions import now_ms
from shared.registry.records import MappingRow
from shared.registry.tables import REVISIONS, MappingTable

CHANNEL = "lambdad_mappings"
LOCK_KEY = 0x6C616D6D
POLL_S = 1.0
CONNECT_TIMEOUT_S = 5.0
_TABLE = MappingTable.__table__
_COLUMNS = tuple(_TABLE.c[field] for field in EventSourceMapping.__struct_fields__)
_ALL: Select[Any] = select(*_COLUMNS).order_by(MappingTable.uuid)
_ROWS: Select[Any] = select(*_COLUMNS, MappingTable.tags)
_ONE = _ROWS.where(MappingTable.region == bindparam("region"), MappingTable.uuid == bindparam("uuid"))
_MARKER = select(func.count(), func.coalesce(func.max(MappingTable.revision), 0))
_WIDTH = len(_COLUMNS)


def _mapping_of(row: Any) -> EventSourceMapping:
    return msgspec.convert(dict(zip(EventSourceMapping.__struct_fields__, row, strict=True)), EventSourceMapping)


def _row_of(row: Any) -> MappingRow:
    return MappingRow(_mapping_of(row[:_WIDTH]), row[_WIDTH])


class Mappings:
    """Revisions of mappings are taken in commit order, so that a marker never misses a write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_all(self) -> list[EventSourceMapping]:
        """Every mapping, those being deleted too. Its `revision` changes when its owner changes it, not with its state."""
        async with self._database.read() as connection:
            return [_mapping_of(row) for row in await connection.execute(_ALL)]

    async def marker(self) -> tuple[int, int]:
        """Cheap to ask; differs from an earlier one when any mapping was created, changed by its owner, or deleted."""
        async with self._database.read() as connection:
            count, revision = (await connection.execute(_MARKER)).one()
            return int(count), int(revision)

    async def set_state(
        self,
        uuid: str,
        state: MappingState,
        reason: str,
        last_processing_result: str | None = None,
        *,
        revision: int | None = None,
    ) -> bool:
        """What the poller reached. False, and nothing written, when the mapping is gone, being deleted, or (revision given)
        was changed by its owner since that revision: the poller then looks at it anew."""
        values: dict[str, object] = {"state": state.value, "state_reason": reason, "last_modified_ms": now_ms()}
        if last_processing_result is not None:
            values["last_processing_result"] = last_processing_result
        statement = update(MappingTable).where(MappingTable.uuid == uuid, MappingTable.state != MappingState.DELETING.value)
        if revision is not None:
            statement = statement.where(MappingTable.revision == revision)
        async with self._database.write() as connection:
            return bool((await connection.execute(statement.values(**values))).rowcount)

    async def set_last_result(self, uuid: str, last_processing_result: str) -> None:
        """What happened to the last batch, without a change of state."""
        statement = update(MappingTable).where(MappingTable.uuid == uuid)
        async with self._database.write() as connection:
            await connection.execute(statement.values(last_processing_result=last_processing_result))

    async def delete(self, uuid: str) -> bool:
        """The last step of a deletion, once nobody polls for the mapping any more."""
        async with self._database.write() as connection:
            await _serialise(connection)
            found = await connection.execute(delete(MappingTable).where(MappingTable.uuid == uuid))
            await _notify(connection)
            return bool(found.rowcount)

    async def changes(self, *, poll_s: float = POLL_S) -> AsyncIterator[None]:
        """Yields once at first, then after each change of any mapping: at once by notification, and should that connection
        be down within poll_s. Database failures are waited out."""
        seen: tuple[int, int] | None = None
        woken = asyncio.Event()
        async with _Listener(self._database.url.set(drivername="postgresql").render_as_string(False), woken) as listener:
            while True:
                woken.clear()
                await listener.keep()
                with contextlib.suppress(ServiceException):
                    marker = await self.marker()
                    if marker != seen:
                        seen = marker
                        yield
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(poll_s):
                        await woken.wait()


class _Listener:
    """A connection of its own for notifications, made again when it was lost."""

    def __init__(self, dsn: str, woken: asyncio.Event) -> None:
        self._dsn = dsn
        self._woken = woken
        self._connection: asyncpg.Connection | None = None

    async def __aenter__(self) -> _Listener:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.terminate()

    async def keep(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            return
        self._connection = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await asyncpg.connect(self._dsn)
                await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
            self._connection = connection
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return


async def _serialise(connection: AsyncConnection) -> None:
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))


async def _notify(connection: AsyncConnection) -> None:
    await connection.execute(text(f"NOTIFY {CHANNEL}"))


async def find(connection: AsyncConnection, home: Home, uuid: str) -> MappingRow | None:
    row = (await connection.execute(_ONE, {"region": home.region, "uuid": uuid})).first()
    return None if row is None else _row_of(row)


async def lock(connection: AsyncConnection, home: Home, uuid: str) -> MappingRow | None:
    """A mapping to be changed by its owner, kept from other writers until the transaction ends."""
    await _serialise(connection)
    row = (await connection.execute(_ONE.with_for_update(), {"region": home.region, "uuid": uuid})).first()
    return None if row is None else _row_of(row)


async def page(
    connection: AsyncConnection,
    home: Home,
    after: str,
    limit: int,
    *,
    function: tuple[str, str] | None = None,
    source_arn: str | None = None,
) -> list[MappingRow]:
    """Mappings whose uuids follow `after`; when they are named, of one function (name, and ARN as it was given) and source."""
    statement = (
        _ROWS.where(MappingTable.region == home.region, MappingTable.uuid > after).order_by(MappingTable.uuid).limit(limit)
    )
    if function is not None:
        name, arn = function
        statement = statement.where(MappingTable.function_name == name, MappingTable.function_arn == arn)
    if source_arn is not None:
        statement = statement.where(MappingTable.source_arn == source_arn)
    return [_row_of(row) for row in await connection.execute(statement)]


async def same_source(connection: AsyncConnection, mapping: EventSourceMapping) -> list[MappingRow]:
    """Mappings of the same function and source, whatever their topics."""
    statement = _ROWS.where(
        MappingTable.region == mapping.region,
        MappingTable.function_name == mapping.function_name,
        MappingTable.source_arn.is_not_distinct_from(mapping.source_arn),
    )
    rows = [_row_of(row) for row in await connection.execute(statement)]
    return [row for row in rows if row.mapping.bootstrap_servers == mapping.bootstrap_servers]


async def serialise(connection: AsyncConnection) -> None:
    """Writers of mappings follow each other until the transaction ends."""
    await _serialise(connection)


async def create(connection: AsyncConnection, row: MappingRow) -> MappingRow | None:
    """None when the consumer group is taken. The caller holds `serialise`."""
    statement = (
        insert(MappingTable)
        .values(**_values(row))
        .on_conflict_do_nothing(index_elements=[MappingTable.consumer_group_id])
        .returning(MappingTable.revision)
    )
    revision = (await connection.execute(statement)).scalar_one_or_none()
    if revision is None:
        return None
    await _notify(connection)
    return msgspec.structs.replace(row, mapping=msgspec.structs.replace(row.mapping, revision=revision))


async def replace(connection: AsyncConnection, row: MappingRow) -> MappingRow:
    """Writes all of a locked mapping, with the next revision."""
    statement = (
        update(MappingTable)
        .where(MappingTable.uuid == row.mapping.uuid)
        .values(**_values(row))
        .returning(MappingTable.revision)
    )
    revision = (await connection.execute(statement)).scalar_one()
    await _notify(connection)
    return msgspec.structs.replace(row, mapping=msgspec.structs.replace(row.mapping, revision=revision))


async def set_tags(connection: AsyncConnection, uuid: str, tags: dict[str, str]) -> None:
    await connection.execute(update(MappingTable).where(MappingTable.uuid == uuid).values(tags=tags))


def _values(row: MappingRow) -> dict[str, object]:
    values: dict[str, object] = msgspec.to_builtins(row.mapping)
    values["revision"] = REVISIONS.next_value()
    values["tags"] = row.tags
    return values
