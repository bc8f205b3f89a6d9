"""Queries on resource policies. Writers hold the lock on their function (`functions.lock`)."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry.functions import new_revision_id
from shared.registry.tables import FunctionTable, PolicyTable

Statement = dict[str, Any]
_ONE = (
    select(PolicyTable.statements, PolicyTable.revision_id)
    .join(FunctionTable, FunctionTable.id == PolicyTable.function_id)
    .where(FunctionTable.name == bindparam("name"), PolicyTable.qualifier == bindparam("qualifier"))
)


class Policy(msgspec.Struct, frozen=True):
    """statements: as they stand in the policy's JSON, in the order in which they were added; never empty."""

    statements: tuple[Statement, ...]
    revision_id: str


async def find(connection: AsyncConnection, name: str, qualifier: str) -> Policy | None:
    """The policy of a function by name; qualifier is `$LATEST` for the function's own."""
    row = (await connection.execute(_ONE, {"name": name, "qualifier": qualifier})).first()
    return None if row is None else Policy(tuple(row[0]), row[1])


async def put(connection: AsyncConnection, function_id: str, qualifier: str, statements: tuple[Statement, ...]) -> None:
    """Writes a policy's statements with a new RevisionId; without any statement the policy is gone."""
    if not statements:
        await connection.execute(
            delete(PolicyTable).where(PolicyTable.function_id == function_id, PolicyTable.qualifier == qualifier)
        )
        return
    values = {"statements": list(statements), "revision_id": new_revision_id()}
    await connection.execute(
        insert(PolicyTable)
        .values(function_id=function_id, qualifier=qualifier, **values)
        .on_conflict_do_update(index_elements=[PolicyTable.function_id, PolicyTable.qualifier], set_=values)
    )
