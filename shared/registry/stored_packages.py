"""Queries on what is in the package store, and on what still refers to it.

A package is written down here before it is put into the store, and it leaves the store only under the lock on its row: so
whoever is about to use a package either keeps the clean-up away from it, or waits and then stores it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, func, not_, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry.tables import LAYERED, LayerVersionTable, PackageTable, VersionTable

_KEEP = (
    insert(PackageTable)
    .values(
        sha256=bindparam("sha256"),
        size_bytes=bindparam("size_bytes"),
        unzipped_bytes=bindparam("unzipped_bytes"),
        entries=bindparam("entries"),
        unused_since_ms=None,
    )
    .on_conflict_do_update(
        index_elements=[PackageTable.sha256], set_={"unused_since_ms": None, "entries": bindparam("entries")}
    )
)
_ENTRIES = select(PackageTable.sha256, PackageTable.entries).where(
    PackageTable.sha256.in_(bindparam("sha256s", expanding=True))
)
_UNZIPPED = select(PackageTable.unzipped_bytes).where(PackageTable.sha256 == bindparam("sha256"))
# Deleted layers live on in the functions that have them: what those noted is the last that refers to such a package.
_IN_LAYERED = text(
    f"SELECT layer ->> 'sha256' FROM versions, json_array_elements(configuration -> 'layers') AS layer WHERE {LAYERED}"
)
_BY_VERSION = exists().where(VersionTable.code_sha256 == PackageTable.sha256)
_BY_LAYER = exists().where(LayerVersionTable.code_sha256 == PackageTable.sha256)
_REFERRED = or_(_BY_VERSION, _BY_LAYER, text(f"packages.sha256 IN ({_IN_LAYERED})"))
# Not the negation of the above, which means the same: of conditions joined by AND the database makes joins.
_UNREFERRED = and_(not_(_BY_VERSION), not_(_BY_LAYER), text(f"packages.sha256 NOT IN ({_IN_LAYERED})"))
_UNMARK = (
    update(PackageTable)
    .where(PackageTable.unused_since_ms.is_not(None), _REFERRED)
    .values(unused_since_ms=None)
    .returning(PackageTable.sha256)
)
_MARK = (
    update(PackageTable)
    .where(PackageTable.unused_since_ms.is_(None), _UNREFERRED)
    .values(unused_since_ms=bindparam("now_ms"))
    .returning(PackageTable.sha256)
)
_OVERDUE = (
    select(PackageTable.sha256)
    .where(PackageTable.unused_since_ms <= bindparam("before_ms"))
    .order_by(PackageTable.unused_since_ms)
    .limit(bindparam("limit"))
)
_FORGET: Any = (
    delete(PackageTable)
    .where(PackageTable.sha256 == bindparam("sha256"), PackageTable.unused_since_ms <= bindparam("before_ms"), _UNREFERRED)
    .returning(PackageTable.size_bytes)
)
_ONE_AT_A_TIME = select(func.pg_try_advisory_xact_lock(bindparam("key")))
_CLEANING = 7_041_903
"""Name of the lock that the one process that cleans up has; any number that nobody else uses."""


async def keep(connection: AsyncConnection, sha256: str, *, size_bytes: int, unzipped_bytes: int, entries: int) -> None:
    """Announces that a package is about to be stored and used. Commit it before the package store is looked at."""
    values = {"sha256": sha256, "size_bytes": size_bytes, "unzipped_bytes": unzipped_bytes, "entries": entries}
    await connection.execute(_KEEP, values)


async def unzipped_bytes(connection: AsyncConnection, sha256: str) -> int:
    """What a package unpacks to."""
    return int((await connection.execute(_UNZIPPED, {"sha256": sha256})).scalar_one_or_none() or 0)


async def entries(connection: AsyncConnection, sha256s: Sequence[str]) -> int:
    """What these packages unpack to in files, links and directories, one that is named twice counted twice."""
    counted = {row[0]: int(row[1]) for row in await connection.execute(_ENTRIES, {"sha256s": list(sha256s)})}
    return sum(counted.get(sha256, 0) for sha256 in sha256s)


async def clean_alone(connection: AsyncConnection) -> bool:
    """Whether this transaction may clean up: false while another process does."""
    return bool((await connection.execute(_ONE_AT_A_TIME, {"key": _CLEANING})).scalar_one())


async def mark_unused(connection: AsyncConnection, now_ms: int) -> int:
    """Notes since when nothing refers to a package, and forgets it where something does again; the number noted."""
    await connection.execute(_UNMARK)
    return len((await connection.execute(_MARK, {"now_ms": now_ms})).all())


async def overdue(connection: AsyncConnection, before_ms: int, limit: int) -> list[str]:
    """Packages without any reference since `before_ms` or longer, the longest first."""
    return [row[0] for row in await connection.execute(_OVERDUE, {"before_ms": before_ms, "limit": limit})]


async def forget(connection: AsyncConnection, sha256: str, before_ms: int) -> bool:
    """Takes a package's row away, locked until the transaction ends, if still nothing refers to it and nobody announced it."""
    return (await connection.execute(_FORGET, {"sha256": sha256, "before_ms": before_ms})).first() is not None
