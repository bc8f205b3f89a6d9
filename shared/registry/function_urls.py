"""Queries on function URLs. Writers hold the lock on their function (`functions.lock`)."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import LATEST, Home
from shared.domain.function_urls import Cors, FunctionUrl
from shared.domain.policy_evaluation import Statement, parse_statement
from shared.registry.tables import FUNCTION_NAMED, FunctionTable, FunctionUrlTable, PolicyTable

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    FunctionUrlTable.function_id.expression,
    FunctionUrlTable.qualifier.expression,
    FunctionUrlTable.url_id.expression,
    FunctionUrlTable.auth_type.expression,
    FunctionUrlTable.invoke_mode.expression,
    FunctionUrlTable.cors.expression,
    FunctionUrlTable.created_us.expression,
    FunctionUrlTable.modified_us.expression,
)
_JOIN = FunctionUrlTable.__table__.join(FunctionTable.__table__, FunctionTable.id == FunctionUrlTable.function_id)
_ONE = select(*_COLUMNS).select_from(_JOIN).where(FUNCTION_NAMED, FunctionUrlTable.qualifier == bindparam("qualifier"))
_PAGE = (
    select(*_COLUMNS)
    .select_from(_JOIN)
    .where(FUNCTION_NAMED, FunctionUrlTable.qualifier > bindparam("after"))
    .order_by(FunctionUrlTable.qualifier)
    .limit(bindparam("limit"))
)
# The function's own policy too: its statements may name aliases by a wildcard.
_SERVED = (
    select(FunctionTable.region, FunctionTable.name, *_COLUMNS, PolicyTable.statements)
    .select_from(
        _JOIN.outerjoin(
            PolicyTable.__table__,
            and_(
                PolicyTable.function_id == FunctionUrlTable.function_id,
                or_(PolicyTable.qualifier == FunctionUrlTable.qualifier, PolicyTable.qualifier == LATEST),
            ),
        )
    )
    .where(FunctionUrlTable.url_id == bindparam("url_id"))
)


class ServedUrl(msgspec.Struct, frozen=True):
    """All that a request to a URL is decided by. statements: of the policies of the function and of the URL's alias."""

    url: FunctionUrl
    region: str
    function_name: str
    statements: tuple[Statement, ...]

    @property
    def qualifier(self) -> str | None:
        """The alias to invoke, None for the function itself."""
        return None if self.url.qualifier == LATEST else self.url.qualifier


def now_us() -> int:
    return time.time_ns() // 1_000


async def find(connection: AsyncConnection, home: Home, name: str, qualifier: str) -> FunctionUrl | None:
    """The URL of a function by name; qualifier is `$LATEST` for the function's own."""
    row = (await connection.execute(_ONE, {"region": home.region, "name": name, "qualifier": qualifier})).first()
    return None if row is None else _url_of(row)


async def page(connection: AsyncConnection, home: Home, name: str, after: str, limit: int) -> list[FunctionUrl]:
    """URLs of a function whose qualifiers follow `after`; the function's own comes first."""
    result = await connection.execute(_PAGE, {"region": home.region, "name": name, "after": after, "limit": limit})
    return [_url_of(row) for row in result]


async def served(connection: AsyncConnection, url_id: str) -> ServedUrl | None:
    rows = (await connection.execute(_SERVED, {"url_id": url_id})).all()
    if not rows:
        return None
    statements = tuple(parse_statement(one) for row in rows for one in row[-1] or ())
    return ServedUrl(_url_of(rows[0][2:-1]), rows[0][0], rows[0][1], statements)


async def create(connection: AsyncConnection, url: FunctionUrl) -> bool:
    """False when the function or alias has a URL already."""
    statement = (
        insert(FunctionUrlTable)
        .values(function_id=url.function_id, qualifier=url.qualifier, **_values(url))
        .on_conflict_do_nothing(index_elements=[FunctionUrlTable.function_id, FunctionUrlTable.qualifier])
        .returning(FunctionUrlTable.url_id)
    )
    return (await connection.execute(statement)).first() is not None


async def replace(connection: AsyncConnection, url: FunctionUrl) -> None:
    await connection.execute(
        update(FunctionUrlTable)
        .where(FunctionUrlTable.function_id == url.function_id, FunctionUrlTable.qualifier == url.qualifier)
        .values(**_values(url))
    )


async def remove(connection: AsyncConnection, function_id: str, qualifier: str) -> bool:
    """False when there was none."""
    statement = (
        delete(FunctionUrlTable)
        .where(FunctionUrlTable.function_id == function_id, FunctionUrlTable.qualifier == qualifier)
        .returning(FunctionUrlTable.url_id)
    )
    return (await connection.execute(statement)).first() is not None


def _values(url: FunctionUrl) -> dict[str, Any]:
    return {
        "url_id": url.url_id,
        "auth_type": url.auth_type,
        "invoke_mode": url.invoke_mode,
        "cors": None if url.cors is None else url.cors.members(),
        "created_us": url.created_us,
        "modified_us": url.modified_us,
    }


def _url_of(row: Any) -> FunctionUrl:
    function_id, qualifier, url_id, auth_type, invoke_mode, cors, created_us, modified_us = row
    found = None if cors is None else msgspec.convert(cors, Cors)
    return FunctionUrl(function_id, qualifier, url_id, auth_type, invoke_mode, found, created_us, modified_us)
