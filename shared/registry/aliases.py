"""Queries on aliases. Writers hold the lock on their function (`functions.lock`)."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry import rows
from shared.registry.functions import new_revision_id, touch
from shared.registry.records import Alias
from shared.registry.tables import AliasTable, EventInvokeTable, FunctionUrlTable, PolicyTable, ProvisionedTable

_ONE = select(*rows.ALIAS).where(AliasTable.function_id == bindparam("function_id"), AliasTable.name == bindparam("name"))
_PAGE = (
    select(*rows.ALIAS)
    .where(AliasTable.function_id == bindparam("function_id"), AliasTable.name > bindparam("after"))
    .order_by(AliasTable.name)
    .limit(bindparam("limit"))
)
_PAGE_OF_VERSION = _PAGE.where(
    or_(AliasTable.version == bindparam("version"), AliasTable.additional_version == bindparam("version"))
)


async def find(connection: AsyncConnection, function_id: str, name: str) -> Alias | None:
    row = (await connection.execute(_ONE, {"function_id": function_id, "name": name})).first()
    return None if row is None else rows.alias_of(row)


async def page(
    connection: AsyncConnection, function_id: str, after: str, limit: int, version: int | None = None
) -> list[Alias]:
    """Aliases whose names follow `after`; only those that point to `version` when one is given."""
    values = {"function_id": function_id, "after": after, "limit": limit}
    if version is None:
        result = await connection.execute(_PAGE, values)
    else:
        result = await connection.execute(_PAGE_OF_VERSION, values | {"version": version})
    return [rows.alias_of(row) for row in result]


async def create(connection: AsyncConnection, alias: Alias) -> int | None:
    """The function's new revision, or None when the name is taken."""
    statement = (
        insert(AliasTable)
        .values(**msgspec.structs.asdict(alias))
        .on_conflict_do_nothing(index_elements=[AliasTable.function_id, AliasTable.name])
        .returning(AliasTable.name)
    )
    if (await connection.execute(statement)).first() is None:
        return None
    return await touch(connection, alias.function_id)


async def replace(connection: AsyncConnection, alias: Alias) -> tuple[Alias, int]:
    """Writes all of an alias with a new RevisionId; the alias and the function's new revision."""
    alias = msgspec.structs.replace(alias, revision_id=new_revision_id())
    await connection.execute(
        update(AliasTable)
        .where(AliasTable.function_id == alias.function_id, AliasTable.name == alias.name)
        .values(**msgspec.structs.asdict(alias))
    )
    return alias, await touch(connection, alias.function_id)


async def remove(connection: AsyncConnection, function_id: str, name: str) -> int | None:
    """Deletes an alias and what was set on it; the function's new revision, None when there was no such alias."""
    statement = (
        delete(AliasTable).where(AliasTable.function_id == function_id, AliasTable.name == name).returning(AliasTable.name)
    )
    if (await connection.execute(statement)).first() is None:
        return None
    await connection.execute(
        delete(EventInvokeTable).where(EventInvokeTable.function_id == function_id, EventInvokeTable.qualifier == name)
    )
    await connection.execute(delete(PolicyTable).where(PolicyTable.function_id == function_id, PolicyTable.qualifier == name))
    await connection.execute(
        delete(FunctionUrlTable).where(FunctionUrlTable.function_id == function_id, FunctionUrlTable.qualifier == name)
    )
    await connection.execute(
        delete(ProvisionedTable).where(ProvisionedTable.function_id == function_id, ProvisionedTable.qualifier == name)
    )
    return await touch(connection, function_id)
