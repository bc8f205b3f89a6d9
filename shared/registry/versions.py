"""Queries on published versions, which never change, and the settling of versions that wait for their package."""

from __future__ import annotations

import hashlib

import msgspec
from sqlalchemy import bindparam, delete, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.function_state import CREATED, PUBLISHED, Event, Status, advance
from shared.registry import rows
from shared.registry.functions import insert_version, new_revision_id, now_ms, set_revision_id, touch
from shared.registry.records import FunctionVersion, Version
from shared.registry.tables import (
    FUNCTION_NAMED,
    UNSETTLED,
    AliasTable,
    EventInvokeTable,
    FunctionTable,
    PolicyTable,
    ProvisionedTable,
    VersionTable,
)

_ONE = select(*rows.VERSION).where(
    VersionTable.function_id == bindparam("function_id"), VersionTable.number == bindparam("number")
)
_NEWEST = (
    select(*rows.VERSION)
    .where(VersionTable.function_id == bindparam("function_id"), VersionTable.number > 0)
    .order_by(VersionTable.number.desc())
    .limit(1)
)
_PAGE = (
    select(*rows.FUNCTION, *rows.VERSION)
    .select_from(FunctionTable.__table__.join(VersionTable.__table__, VersionTable.function_id == FunctionTable.id))
    .where(FUNCTION_NAMED, VersionTable.number > bindparam("after"))
    .order_by(VersionTable.number)
    .limit(bindparam("limit"))
)
_UNSETTLED = (
    select(*rows.FUNCTION, *rows.VERSION)
    .select_from(FunctionTable.__table__.join(VersionTable.__table__, VersionTable.function_id == FunctionTable.id))
    .where(
        text(UNSETTLED),
        VersionTable.modified_ms <= bindparam("before_ms"),
    )
    .limit(bindparam("limit"))
)
_REFERRING = (
    select(AliasTable.name)
    .where(
        AliasTable.function_id == bindparam("function_id"),
        or_(AliasTable.version == bindparam("number"), AliasTable.additional_version == bindparam("number")),
    )
    .order_by(AliasTable.name)
)


async def find(connection: AsyncConnection, function_id: str, number: int) -> Version | None:
    row = (await connection.execute(_ONE, {"function_id": function_id, "number": number})).first()
    return None if row is None else rows.version_of(row)


async def page(connection: AsyncConnection, home: Home, name: str, after: int, limit: int) -> list[FunctionVersion]:
    """Versions of a function with numbers above `after`, ascending; -1 begins with `$LATEST`."""
    result = await connection.execute(_PAGE, {"region": home.region, "name": name, "after": after, "limit": limit})
    return [rows.function_version_of(row) for row in result]


def digest(latest: Version) -> str:
    """Of what publishing copies, to tell whether `$LATEST` was updated since, be it to the same code and configuration."""
    parts = (latest.code_sha256, msgspec.to_builtins(latest.configuration), latest.config_revision)
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


async def publish(
    connection: AsyncConnection, current: FunctionVersion, *, description: str | None = None, pending: bool = False
) -> FunctionVersion:
    """Publishes `$LATEST` of a locked function, or gives the last version back when nothing was updated since.

    pending: the package was only just stored, so the version starts as Pending. `$LATEST` gets a new RevisionId.
    """
    source = digest(current.version)
    row = (await connection.execute(_NEWEST, {"function_id": current.function.id})).first()
    if row is not None:
        newest = rows.version_of(row)
        if newest.source_digest == source:
            return FunctionVersion(current.function, newest)
    number = current.function.last_version + 1
    revision = await touch(connection, current.function.id)
    configuration = current.version.configuration
    if description is not None:
        configuration = msgspec.structs.replace(configuration, description=description)
    version = msgspec.structs.replace(
        current.version,
        number=number,
        configuration=configuration,
        config_revision=revision,
        revision_id=new_revision_id(),
        status=CREATED if pending else PUBLISHED,
        modified_ms=now_ms(),
        source_digest=source,
    )
    await insert_version(connection, version)
    await connection.execute(update(FunctionTable).where(FunctionTable.id == current.function.id).values(last_version=number))
    await set_revision_id(connection, current.function.id, 0)
    return FunctionVersion(msgspec.structs.replace(current.function, revision=revision, last_version=number), version)


async def referring_aliases(connection: AsyncConnection, function_id: str, number: int) -> list[str]:
    result = await connection.execute(_REFERRING, {"function_id": function_id, "number": number})
    return [row[0] for row in result]


async def remove(connection: AsyncConnection, function_id: str, number: int) -> bool:
    result = await connection.execute(
        delete(VersionTable).where(VersionTable.function_id == function_id, VersionTable.number == number)
    )
    for table in (EventInvokeTable, PolicyTable, ProvisionedTable):
        await connection.execute(delete(table).where(table.function_id == function_id, table.qualifier == str(number)))
    return bool(result.rowcount)


async def unsettled(connection: AsyncConnection, *, older_than_ms: int = 0, limit: int = 1_000) -> list[FunctionVersion]:
    """Versions left Pending or InProgress for at least that long, by whoever was to settle them."""
    result = await connection.execute(_UNSETTLED, {"before_ms": now_ms() - older_than_ms, "limit": limit})
    return [rows.function_version_of(row) for row in result]


async def settle(connection: AsyncConnection, version: Version, failure: str) -> Status | None:
    """Records what was seen of a version's package (failure: "" when it is readable); the new status.

    None when the version has changed since, or was settled by another: nothing is written then.
    """
    status = advance(version.status, Event.CODE_UNREADABLE if failure else Event.CODE_READABLE)
    values = {
        "state": status.state.value,
        "update_status": status.update.value,
        "failure": failure,
        "revision_id": new_revision_id(),
    }
    result = await connection.execute(
        update(VersionTable)
        .where(
            VersionTable.function_id == version.function_id,
            VersionTable.number == version.number,
            VersionTable.config_revision == version.config_revision,
            VersionTable.state == version.status.state.value,
            VersionTable.update_status == version.status.update.value,
        )
        .values(**values)
    )
    return status if result.rowcount else None
