"""Queries on event-invoke configurations. Writers hold the lock on their function (`functions.lock`)."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.registry import rows
from shared.registry.functions import touch
from shared.registry.records import EventInvokeRow
from shared.registry.tables import FUNCTION_NAMED, EventInvokeTable, FunctionTable

_ONE = (
    select(*rows.EVENT_INVOKE)
    .join(FunctionTable, FunctionTable.id == EventInvokeTable.function_id)
    .where(FUNCTION_NAMED, EventInvokeTable.qualifier == bindparam("qualifier"))
)
_PAGE = (
    select(*rows.EVENT_INVOKE)
    .where(EventInvokeTable.function_id == bindparam("function_id"), EventInvokeTable.qualifier > bindparam("after"))
    .order_by(EventInvokeTable.qualifier)
    .limit(bindparam("limit"))
)


async def find(connection: AsyncConnection, home: Home, name: str, qualifier: str) -> EventInvokeRow | None:
    """Of a function by name; qualifier is `$LATEST` where none was given."""
    row = (await connection.execute(_ONE, {"region": home.region, "name": name, "qualifier": qualifier})).first()
    return None if row is None else rows.event_invoke_of(row)


async def page(connection: AsyncConnection, function_id: str, after: str, limit: int) -> list[EventInvokeRow]:
    result = await connection.execute(_PAGE, {"function_id": function_id, "after": after, "limit": limit})
    return [rows.event_invoke_of(row) for row in result]


async def put(connection: AsyncConnection, row: EventInvokeRow) -> int:
    """Creates or replaces a configuration; the function's new revision."""
    values = msgspec.structs.asdict(row)
    await connection.execute(
        insert(EventInvokeTable)
        .values(**values)
        .on_conflict_do_update(index_elements=[EventInvokeTable.function_id, EventInvokeTable.qualifier], set_=values)
    )
    return await touch(connection, row.function_id)


async def remove(connection: AsyncConnection, function_id: str, qualifier: str) -> int | None:
    """The function's new revision, None when there was no such configuration."""
    statement = (
        delete(EventInvokeTable)
        .where(EventInvokeTable.function_id == function_id, EventInvokeTable.qualifier == qualifier)
        .returning(EventInvokeTable.qualifier)
    )
    if (await connection.execute(statement)).first() is None:
        return None
    return await touch(connection, function_id)
