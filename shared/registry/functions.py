"""Queries on functions. Every writer first locks the function's row, so writers to one function follow each other."""

from __future__ import annotations

import time
import uuid

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import LATEST, Home, is_version
from shared.domain.function_state import Event, advance
from shared.registry import rows
from shared.registry.records import Function, FunctionConfiguration, FunctionVersion, Version
from shared.registry.tables import FUNCTION_NAMED, REVISIONS, AliasTable, FunctionTable, VersionTable

_JOIN = FunctionTable.__table__.join(VersionTable.__table__, VersionTable.function_id == FunctionTable.id)
_BOTH = (*rows.FUNCTION, *rows.VERSION)
_HERE = FunctionTable.region == bindparam("region")
_FIND = select(*_BOTH).select_from(_JOIN).where(FUNCTION_NAMED, VersionTable.number == bindparam("number"))
# Both rows: of a table that is not locked, a statement that waited would still show what was there before it waited.
_LOCK = _FIND.with_for_update(of=[FunctionTable.__table__, VersionTable.__table__])
_FIND_ALIAS = (
    select(*_BOTH)
    .select_from(_JOIN.join(AliasTable.__table__, AliasTable.function_id == FunctionTable.id))
    .where(FUNCTION_NAMED, AliasTable.name == bindparam("alias"), VersionTable.number == AliasTable.version)
)
_EXISTS = select(FunctionTable.id).where(FUNCTION_NAMED)
_PAGE = (
    select(*_BOTH)
    .select_from(_JOIN)
    .where(_HERE, FunctionTable.name > bindparam("after"), VersionTable.number == 0)
    .order_by(FunctionTable.name)
    .limit(bindparam("limit"))
)
_PAGE_ALL = (
    select(*_BOTH)
    .select_from(_JOIN)
    .where(_HERE, tuple_(FunctionTable.name, VersionTable.number) > tuple_(bindparam("after"), bindparam("after_number")))
    .order_by(FunctionTable.name, VersionTable.number)
    .limit(bindparam("limit"))
)
_TOUCH = (
    update(FunctionTable)
    .where(FunctionTable.id == bindparam("function_id"))
    .values(revision=REVISIONS.next_value())
    .returning(FunctionTable.revision)
)
_USAGE = (
    select(func.count().filter(VersionTable.number == 0), func.coalesce(func.sum(VersionTable.code_bytes), 0))
    .select_from(_JOIN)
    .where(_HERE)
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_revision_id() -> str:
    return str(uuid.uuid4())


def parse_number(qualifier: str | None) -> int | None:
    """The version that a qualifier names: 0 for `$LATEST` or none, None when it can only be an alias."""
    if qualifier is None or qualifier == LATEST:
        return 0
    if is_version(qualifier):
        number = int(qualifier) if len(qualifier) <= 9 else 0
        return number or -1
    return None


async def find(connection: AsyncConnection, home: Home, name: str, qualifier: str | None = None) -> FunctionVersion | None:
    """The version that `name:qualifier` means; of an alias its first version, weights aside."""
    number = parse_number(qualifier)
    if number is None:
        result = await connection.execute(_FIND_ALIAS, {"region": home.region, "name": name, "alias": qualifier})
    else:
        result = await connection.execute(_FIND, {"region": home.region, "name": name, "number": number})
    row = result.first()
    return None if row is None else rows.function_version_of(row)


async def exists(connection: AsyncConnection, home: Home, name: str) -> bool:
    return (await connection.execute(_EXISTS, {"region": home.region, "name": name})).first() is not None


async def lock(connection: AsyncConnection, home: Home, name: str) -> FunctionVersion | None:
    """The function and its `$LATEST`, as of now, kept from other writers until the transaction ends."""
    row = (await connection.execute(_LOCK, {"region": home.region, "name": name, "number": 0})).first()
    return None if row is None else rows.function_version_of(row)


async def page(connection: AsyncConnection, home: Home, after: str, limit: int) -> list[FunctionVersion]:
    """`$LATEST` of the functions whose names follow `after`."""
    result = await connection.execute(_PAGE, {"region": home.region, "after": after, "limit": limit})
    return [rows.function_version_of(row) for row in result]


async def page_all_versions(
    connection: AsyncConnection, home: Home, after: tuple[str, int], limit: int
) -> list[FunctionVersion]:
    """Every version of every function after (name, number)."""
    values = {"region": home.region, "after": after[0], "after_number": after[1], "limit": limit}
    result = await connection.execute(_PAGE_ALL, values)
    return [rows.function_version_of(row) for row in result]


async def usage(connection: AsyncConnection, home: Home) -> tuple[int, int]:
    """(number of functions, bytes of all versions' packages)."""
    count, size = (await connection.execute(_USAGE, {"region": home.region})).one()
    return int(count), int(size)


async def create(connection: AsyncConnection, function: Function) -> Function | None:
    """The function with its revision, whatever the record says; None when the name is taken."""
    statement = (
        upsert(FunctionTable)
        .values(
            id=function.id,
            region=function.region,
            name=function.name,
            revision=REVISIONS.next_value(),
            last_version=function.last_version,
            reserved_concurrency=None,
            dead_letter_arn=function.dead_letter_arn,
            tags=function.tags,
            created_ms=now_ms(),
            code_signing_id=function.code_signing_id,
        )
        .on_conflict_do_nothing(index_elements=[FunctionTable.region, FunctionTable.name])
        .returning(FunctionTable.revision)
    )
    revision = (await connection.execute(statement)).scalar_one_or_none()
    return None if revision is None else msgspec.structs.replace(function, revision=revision)


async def touch(connection: AsyncConnection, function_id: str) -> int:
    """The next revision, set on the function."""
    return int((await connection.execute(_TOUCH, {"function_id": function_id})).scalar_one())


async def insert_version(connection: AsyncConnection, version: Version) -> None:
    await connection.execute(insert(VersionTable).values(function_id=version.function_id, **_columns(version)))


def _columns(version: Version) -> dict[str, object]:
    return {
        "number": version.number,
        "code_sha256": version.code_sha256,
        "code_bytes": version.code_bytes,
        "configuration": msgspec.to_builtins(version.configuration),
        "config_revision": version.config_revision,
        "revision_id": version.revision_id,
        "state": version.status.state.value,
        "update_status": version.status.update.value,
        "failure": version.failure,
        "modified_ms": version.modified_ms,
        "source_digest": version.source_digest,
    }


async def update_latest(
    connection: AsyncConnection,
    current: FunctionVersion,
    *,
    configuration: FunctionConfiguration | None = None,
    code: tuple[str, int] | None = None,
) -> FunctionVersion:
    """Changes `$LATEST` of a locked function: a new revision, a new RevisionId, an update in progress.

    code: (SHA-256 in hex, size in bytes). Raises IllegalTransitionError while the version is being settled.
    """
    status = advance(current.version.status, Event.UPDATED)
    revision = await touch(connection, current.function.id)
    version = msgspec.structs.replace(
        current.version,
        configuration=configuration or current.version.configuration,
        code_sha256=code[0] if code else current.version.code_sha256,
        code_bytes=code[1] if code else current.version.code_bytes,
        config_revision=revision,
        revision_id=new_revision_id(),
        status=status,
        failure="",
        modified_ms=now_ms(),
    )
    await connection.execute(
        update(VersionTable)
        .where(VersionTable.function_id == version.function_id, VersionTable.number == 0)
        .values(**_columns(version))
    )
    function = msgspec.structs.replace(current.function, revision=revision)
    if version.configuration.dead_letter_arn != function.dead_letter_arn:
        function = msgspec.structs.replace(function, dead_letter_arn=version.configuration.dead_letter_arn)
        await connection.execute(
            update(FunctionTable)
            .where(FunctionTable.id == function.id)
            .values(dead_letter_arn=version.configuration.dead_letter_arn)
        )
    return FunctionVersion(function, version)


async def set_revision_id(connection: AsyncConnection, function_id: str, number: int) -> str:
    """A new RevisionId for a version that did not otherwise change."""
    revision_id = new_revision_id()
    await connection.execute(
        update(VersionTable)
        .where(VersionTable.function_id == function_id, VersionTable.number == number)
        .values(revision_id=revision_id)
    )
    return revision_id


async def set_tags(connection: AsyncConnection, function_id: str, tags: dict[str, str]) -> None:
    await connection.execute(update(FunctionTable).where(FunctionTable.id == function_id).values(tags=tags))


async def remove(connection: AsyncConnection, function_id: str) -> int:
    """Deletes a locked function and all that hangs on it. The revision returned is greater than any it had."""
    await connection.execute(delete(FunctionTable).where(FunctionTable.id == function_id))
    return int((await connection.execute(select(REVISIONS.next_value()))).scalar_one())
