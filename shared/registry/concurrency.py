"""Reserved concurrency. Writers follow each other account-wide, so that the sum of all reservations keeps its bound."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.registry.tables import REVISIONS, FunctionTable

LOCK_KEY = 0x6C616D63
_RESERVED_BY_OTHERS = select(func.coalesce(func.sum(FunctionTable.reserved_concurrency), 0)).where(
    FunctionTable.reserved_concurrency.is_not(None),
    FunctionTable.region == bindparam("region"),
    FunctionTable.id != bindparam("function_id"),
)
_BY_REGION = (
    select(FunctionTable.region, func.sum(FunctionTable.reserved_concurrency))
    .where(FunctionTable.reserved_concurrency.is_not(None))
    .group_by(FunctionTable.region)
)
_SET = (
    update(FunctionTable)
    .where(FunctionTable.id == bindparam("function_id"))
    .values(reserved_concurrency=bindparam("reserved"), revision=REVISIONS.next_value())
    .returning(FunctionTable.revision)
)


async def lock_account(connection: AsyncConnection) -> None:
    """Taken before the function's own lock, by everyone, so that two writers cannot wait for each other."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))


async def reserved(connection: AsyncConnection, home: Home, *, without: str = "") -> int:
    """Executions reserved by all functions of a region, or by all but the one with this id."""
    values = {"region": home.region, "function_id": without}
    return int((await connection.execute(_RESERVED_BY_OTHERS, values)).scalar_one() or 0)


async def reserved_by_region(connection: AsyncConnection) -> dict[str, int]:
    """Of the regions in which something is reserved."""
    return {region: int(executions or 0) for region, executions in await connection.execute(_BY_REGION)}


async def put(connection: AsyncConnection, function_id: str, executions: int | None) -> int:
    """Sets or (None) takes away a reservation; the function's new revision."""
    return int((await connection.execute(_SET, {"function_id": function_id, "reserved": executions})).scalar_one())
