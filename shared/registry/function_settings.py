"""Queries on what is set beside a function's configuration: recursive loops, and how versions follow their runtime.

Writers hold the lock on their function (`functions.lock`).
"""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry.tables import REVISIONS, FunctionTable, RuntimeManagementTable

_RUNTIME_MANAGEMENT = select(RuntimeManagementTable.update_on, RuntimeManagementTable.runtime_version_arn).where(
    RuntimeManagementTable.function_id == bindparam("function_id"), RuntimeManagementTable.number == bindparam("number")
)


class RuntimeManagement(msgspec.Struct, frozen=True):
    """update_on: `Auto`, `FunctionUpdate` or `Manual`. runtime_version_arn: the version held on to, with `Manual` only."""

    update_on: str = "Auto"
    runtime_version_arn: str | None = None


async def runtime_management(connection: AsyncConnection, function_id: str, number: int) -> RuntimeManagement:
    """Of a version, 0 being `$LATEST`; the default where nothing was set."""
    row = (await connection.execute(_RUNTIME_MANAGEMENT, {"function_id": function_id, "number": number})).first()
    return RuntimeManagement() if row is None else RuntimeManagement(*row)


async def put_runtime_management(
    connection: AsyncConnection, function_id: str, number: int, management: RuntimeManagement
) -> None:
    values = msgspec.structs.asdict(management)
    await connection.execute(
        insert(RuntimeManagementTable)
        .values(function_id=function_id, number=number, **values)
        .on_conflict_do_update(index_elements=[RuntimeManagementTable.function_id, RuntimeManagementTable.number], set_=values)
    )


async def set_recursive_loop(connection: AsyncConnection, function_id: str, recursive_loop: str) -> int:
    """The function's new revision."""
    statement = (
        update(FunctionTable)
        .where(FunctionTable.id == function_id)
        .values(recursive_loop=recursive_loop, revision=REVISIONS.next_value())
        .returning(FunctionTable.revision)
    )
    return int((await connection.execute(statement)).scalar_one())
