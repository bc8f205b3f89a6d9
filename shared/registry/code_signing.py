"""Queries on code signing configurations and on the functions that use them.

A writer that attaches a configuration holds its row (`share`), one that changes or deletes it locks it (`lock`): so a
configuration cannot go away under a function. Where both are held, the configuration's row is taken first.
"""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import Executable, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.registry.rows import Row
from shared.registry.tables import CodeSigningTable, FunctionTable

_COLUMNS = (
    CodeSigningTable.id,
    CodeSigningTable.description,
    CodeSigningTable.publishers,
    CodeSigningTable.policy,
    CodeSigningTable.tags,
    CodeSigningTable.modified_ms,
)
_ONE = select(*_COLUMNS).where(CodeSigningTable.id == bindparam("id"))
_SHARE = _ONE.with_for_update(read=True, key_share=True)
_LOCK = _ONE.with_for_update()
_PAGE = (
    select(*_COLUMNS)
    .where(CodeSigningTable.region == bindparam("region"), CodeSigningTable.id > bindparam("after"))
    .order_by(CodeSigningTable.id)
    .limit(bindparam("limit"))
)
_USERS = (
    select(FunctionTable.name)
    .where(FunctionTable.code_signing_id == bindparam("id"), FunctionTable.name > bindparam("after"))
    .order_by(FunctionTable.name)
    .limit(bindparam("limit"))
)


class CodeSigningConfig(msgspec.Struct, frozen=True):
    """publishers: ARNs of signing profile versions. policy: what happens to untrusted code, `Warn` or `Enforce`."""

    id: str
    description: str
    publishers: tuple[str, ...]
    policy: str
    tags: dict[str, str]
    modified_ms: int


def new_id() -> str:
    """`csc-` and 17 characters, as on AWS."""
    return f"csc-{secrets.token_hex(9)[:17]}"


async def find(connection: AsyncConnection, identity: str) -> CodeSigningConfig | None:
    return await _first(connection, identity, _ONE)


async def share(connection: AsyncConnection, identity: str) -> CodeSigningConfig | None:
    """The configuration, kept from being deleted until the transaction ends."""
    return await _first(connection, identity, _SHARE)


async def lock(connection: AsyncConnection, identity: str) -> CodeSigningConfig | None:
    """The configuration, kept from other writers and from being attached until the transaction ends."""
    return await _first(connection, identity, _LOCK)


async def _first(connection: AsyncConnection, identity: str, statement: Executable) -> CodeSigningConfig | None:
    row = (await connection.execute(statement, {"id": identity})).first()
    return None if row is None else _config_of(row)


async def page(connection: AsyncConnection, home: Home, after: str, limit: int) -> list[CodeSigningConfig]:
    """Configurations whose ids follow `after`."""
    return [_config_of(row) for row in await connection.execute(_PAGE, {"region": home.region, "after": after, "limit": limit})]


async def users(connection: AsyncConnection, identity: str, after: str, limit: int) -> list[str]:
    """Names, following `after`, of the functions that use a configuration."""
    return [row[0] for row in await connection.execute(_USERS, {"id": identity, "after": after, "limit": limit})]


async def create(connection: AsyncConnection, home: Home, config: CodeSigningConfig) -> None:
    await connection.execute(insert(CodeSigningTable).values(region=home.region, **_values(config)))


async def replace(connection: AsyncConnection, config: CodeSigningConfig) -> None:
    """Writes all of a locked configuration."""
    await connection.execute(update(CodeSigningTable).where(CodeSigningTable.id == config.id).values(**_values(config)))


async def remove(connection: AsyncConnection, identity: str) -> None:
    """Deletes a locked configuration that no function uses."""
    await connection.execute(delete(CodeSigningTable).where(CodeSigningTable.id == identity))


async def attach(connection: AsyncConnection, function_id: str, identity: str | None) -> None:
    """Sets the configuration of a locked function; None takes it away."""
    await connection.execute(update(FunctionTable).where(FunctionTable.id == function_id).values(code_signing_id=identity))


def _values(config: CodeSigningConfig) -> dict[str, object]:
    return {**msgspec.structs.asdict(config), "publishers": list(config.publishers)}


def _config_of(row: Row) -> CodeSigningConfig:
    identity, description, publishers, policy, tags, modified_ms = row
    return CodeSigningConfig(identity, description, tuple(publishers), policy, tags, modified_ms)
