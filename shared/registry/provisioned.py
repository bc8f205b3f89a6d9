"""Queries on provisioned concurrency. Writers hold the lock on their function (`functions.lock`); those that may raise a sum
also hold the account's (`concurrency.lock_account`) before it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.provisioned import AllocationStatus, ProvisionedConcurrency
from shared.registry import rows
from shared.registry.functions import now_ms, touch
from shared.registry.tables import AliasTable, FunctionTable, ProvisionedTable

_COLUMNS = (
    ProvisionedTable.function_id,
    ProvisionedTable.qualifier,
    ProvisionedTable.requested,
    ProvisionedTable.generation,
    ProvisionedTable.modified_ms,
    ProvisionedTable.allocated,
    ProvisionedTable.status,
    ProvisionedTable.status_reason,
    ProvisionedTable.held_version,
)
_OF_FUNCTION = (
    select(*_COLUMNS)
    .where(ProvisionedTable.function_id == bindparam("function_id"), ProvisionedTable.qualifier > bindparam("after"))
    .order_by(ProvisionedTable.qualifier)
    .limit(bindparam("limit"))
)
_ONE = select(*_COLUMNS).where(
    ProvisionedTable.function_id == bindparam("function_id"), ProvisionedTable.qualifier == bindparam("qualifier")
)
_ALL = (
    select(
        *_COLUMNS,
        FunctionTable.region,
        FunctionTable.name,
        AliasTable.version,
        AliasTable.additional_version,
        AliasTable.additional_weight,
    )
    .join(FunctionTable, FunctionTable.id == ProvisionedTable.function_id)
    .outerjoin(
        AliasTable,
        (AliasTable.function_id == ProvisionedTable.function_id) & (AliasTable.name == ProvisionedTable.qualifier),
    )
    .order_by(ProvisionedTable.function_id, ProvisionedTable.qualifier)
)
_TOTAL = select(func.coalesce(func.sum(ProvisionedTable.requested), 0)).where(
    ProvisionedTable.function_id == bindparam("function_id"), ProvisionedTable.qualifier != bindparam("qualifier")
)
_UNRESERVED = (
    select(func.coalesce(func.sum(ProvisionedTable.requested), 0))
    .join(FunctionTable, FunctionTable.id == ProvisionedTable.function_id)
    .where(
        FunctionTable.region == bindparam("region"),
        FunctionTable.reserved_concurrency.is_(None),
        FunctionTable.id != bindparam("function_id"),
    )
)


class Placed(msgspec.Struct, frozen=True):
    """A configuration and the version that it stands on; of a weighted alias the additional version and its weight too."""

    configuration: ProvisionedConcurrency
    region: str
    function_name: str
    version: int
    additional_version: int | None
    additional_weight: float


def _of(row: rows.Row) -> ProvisionedConcurrency:
    function_id, qualifier, requested, generation, modified_ms, allocated, status, reason, held = row[: len(_COLUMNS)]
    return ProvisionedConcurrency(
        function_id, qualifier, requested, generation, modified_ms, allocated, AllocationStatus(status), reason, held
    )


async def find(connection: AsyncConnection, function_id: str, qualifier: str) -> ProvisionedConcurrency | None:
    row = (await connection.execute(_ONE, {"function_id": function_id, "qualifier": qualifier})).first()
    return None if row is None else _of(row)


async def page(connection: AsyncConnection, function_id: str, after: str, limit: int) -> list[ProvisionedConcurrency]:
    """Of one function, those whose qualifiers follow `after`."""
    result = await connection.execute(_OF_FUNCTION, {"function_id": function_id, "after": after, "limit": limit})
    return [_of(row) for row in result]


async def every(connection: AsyncConnection) -> list[Placed]:
    """Of all functions. An alias's stands on the versions that it points to now."""
    placed = []
    for row in await connection.execute(_ALL):
        configuration = _of(row)
        region, name, version, additional_version, weight = tuple[Any, ...](row[len(_COLUMNS) :])
        number = int(configuration.qualifier if version is None else version)
        placed.append(Placed(configuration, region, name, number, additional_version, weight or 0.0))
    return placed


async def total(connection: AsyncConnection, function_id: str, *, without: str = "") -> int:
    """Requested for a function's versions and aliases, or for all of them but one qualifier."""
    values = {"function_id": function_id, "qualifier": without}
    return int((await connection.execute(_TOTAL, values)).scalar_one())


async def unreserved(connection: AsyncConnection, home: Home, *, without: str = "") -> int:
    """Requested for all functions of a region without reserved concurrency: what they take out of the account's pool there.
    without: the id of a function that is left out."""
    values = {"region": home.region, "function_id": without}
    return int((await connection.execute(_UNRESERVED, values)).scalar_one())


async def put(connection: AsyncConnection, function_id: str, qualifier: str, requested: int) -> ProvisionedConcurrency:
    """Creates a configuration or changes its number; what is allocated already stays so. IN_PROGRESS from now on."""
    values = {
        "requested": requested,
        "status": AllocationStatus.IN_PROGRESS.value,
        "status_reason": "",
        "generation": await touch(connection, function_id),
        "modified_ms": now_ms(),
    }
    new = {"function_id": function_id, "qualifier": qualifier, "allocated": 0, "held_version": None}
    statement = (
        insert(ProvisionedTable)
        .values(**new, **values)
        .on_conflict_do_update(index_elements=[ProvisionedTable.function_id, ProvisionedTable.qualifier], set_=values)
        .returning(*_COLUMNS)
    )
    return _of((await connection.execute(statement)).one())


async def remove(connection: AsyncConnection, function_id: str, qualifier: str) -> int | None:
    """The function's new revision, None when there was no such configuration."""
    statement = (
        delete(ProvisionedTable)
        .where(ProvisionedTable.function_id == function_id, ProvisionedTable.qualifier == qualifier)
        .returning(ProvisionedTable.qualifier)
    )
    if (await connection.execute(statement)).first() is None:
        return None
    return await touch(connection, function_id)


async def alias_moved(connection: AsyncConnection, function_id: str, name: str, revision: int) -> None:
    """The alias points elsewhere, or divides otherwise: its provisioned concurrency has to follow."""
    await connection.execute(
        update(ProvisionedTable)
        .where(ProvisionedTable.function_id == function_id, ProvisionedTable.qualifier == name)
        .values(status=AllocationStatus.IN_PROGRESS.value, status_reason="", generation=revision)
    )


async def on_version(connection: AsyncConnection, function_id: str, number: int) -> list[str]:
    """Qualifiers whose provisioned concurrency stands on this version: its own number, aliases that point to it."""
    stands_on = case(
        (AliasTable.version.is_(None), ProvisionedTable.qualifier == str(number)), else_=AliasTable.version == number
    )
    result = await connection.execute(
        select(ProvisionedTable.qualifier)
        .outerjoin(
            AliasTable,
            (AliasTable.function_id == ProvisionedTable.function_id) & (AliasTable.name == ProvisionedTable.qualifier),
        )
        .where(ProvisionedTable.function_id == function_id, stands_on)
        .order_by(ProvisionedTable.qualifier)
    )
    return [row[0] for row in result]


async def report(connection: AsyncConnection, seen: ProvisionedConcurrency) -> bool:
    """Writes how far the allocation has come; False when the request has changed meanwhile."""
    result = await connection.execute(
        update(ProvisionedTable)
        .where(
            ProvisionedTable.function_id == seen.function_id,
            ProvisionedTable.qualifier == seen.qualifier,
            ProvisionedTable.generation == seen.generation,
        )
        .values(
            allocated=seen.allocated,
            status=seen.status.value,
            status_reason=seen.status_reason,
            held_version=seen.held_version,
        )
    )
    return bool(result.rowcount)
