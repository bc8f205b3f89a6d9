"""Queries on queues: what their owners have set. What is in them is the queue engine's (`shared/queues`)."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry.functions import now_ms
from shared.registry.tables import REVISIONS, DeletedQueueTable, QueueTable

DELETED_REMEMBERED_MS = 3_600_000
_BEHIND_ALL = "~"
"""Behind every character that a name may hold."""
_NAMED = (QueueTable.region == bindparam("in_region")) & (QueueTable.name == bindparam("named"))


class Queue(msgspec.Struct, frozen=True):
    """A queue in its region. revision: greater with every change. attributes: as texts, without those that have their defaults.

    dead_letter_arn: the target of the redrive policy among them.
    """

    region: str
    name: str
    revision: int
    attributes: dict[str, str]
    tags: dict[str, str]
    dead_letter_arn: str | None
    created_ms: int
    modified_ms: int


_COLUMNS = tuple(QueueTable.__table__.c[field] for field in Queue.__struct_fields__)
_ONE = select(*_COLUMNS).where(_NAMED)
_LOCKED = _ONE.with_for_update()
_PAGE = (
    select(QueueTable.name)
    .where(
        QueueTable.region == bindparam("in_region"),
        QueueTable.name > bindparam("after"),
        QueueTable.name >= bindparam("prefix"),
        QueueTable.name < bindparam("beyond"),
    )
    .order_by(QueueTable.name)
    .limit(bindparam("limit"))
)
_SOURCES = (
    select(QueueTable.name)
    .where(QueueTable.dead_letter_arn == bindparam("arn"), QueueTable.name > bindparam("after"))
    .order_by(QueueTable.name)
    .limit(bindparam("limit"))
)
_DELETED = select(DeletedQueueTable.deleted_ms).where(
    DeletedQueueTable.region == bindparam("in_region"), DeletedQueueTable.name == bindparam("named")
)


def _key(region: str, name: str) -> dict[str, object]:
    return {"in_region": region, "named": name}


async def find(connection: AsyncConnection, region: str, name: str) -> Queue | None:
    row = (await connection.execute(_ONE, _key(region, name))).first()
    return None if row is None else Queue(*row)


async def lock(connection: AsyncConnection, region: str, name: str) -> Queue | None:
    """As `find`; nobody else changes the queue until the transaction ends."""
    row = (await connection.execute(_LOCKED, _key(region, name))).first()
    return None if row is None else Queue(*row)


async def create(
    connection: AsyncConnection,
    region: str,
    name: str,
    *,
    attributes: dict[str, str],
    tags: dict[str, str],
    dead_letter_arn: str | None,
) -> Queue | None:
    """None where there is one of that name already."""
    now = now_ms()
    statement = (
        insert(QueueTable)
        .values(
            region=region,
            name=name,
            revision=REVISIONS.next_value(),
            attributes=attributes,
            tags=tags,
            dead_letter_arn=dead_letter_arn,
            created_ms=now,
            modified_ms=now,
        )
        .on_conflict_do_nothing()
        .returning(*_COLUMNS)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else Queue(*row)


async def change(connection: AsyncConnection, queue: Queue, attributes: dict[str, str], dead_letter_arn: str | None) -> Queue:
    """All of its attributes anew. queue: as `lock` gave it in this transaction."""
    values = {
        "attributes": attributes,
        "dead_letter_arn": dead_letter_arn,
        "revision": REVISIONS.next_value(),
        "modified_ms": now_ms(),
    }
    row = (
        await connection.execute(
            update(QueueTable).where(_NAMED).values(**values).returning(*_COLUMNS), _key(queue.region, queue.name)
        )
    ).one()
    return Queue(*row)


async def put_tags(connection: AsyncConnection, queue: Queue, tags: dict[str, str]) -> None:
    await connection.execute(update(QueueTable).where(_NAMED).values(tags=tags), _key(queue.region, queue.name))


async def remove(connection: AsyncConnection, region: str, name: str) -> int | None:
    """The revision of its end, greater than any that it had; None where there was no such queue.

    The name is remembered, and others are forgotten that were deleted long ago."""
    found = await connection.execute(delete(QueueTable).where(_NAMED).returning(QueueTable.name), _key(region, name))
    if found.first() is None:
        return None
    now = now_ms()
    await connection.execute(delete(DeletedQueueTable).where(DeletedQueueTable.deleted_ms < now - DELETED_REMEMBERED_MS))
    await connection.execute(
        insert(DeletedQueueTable)
        .values(region=region, name=name, deleted_ms=now)
        .on_conflict_do_update(index_elements=[DeletedQueueTable.region, DeletedQueueTable.name], set_={"deleted_ms": now})
    )
    return int((await connection.execute(select(REVISIONS.next_value()))).scalar_one())


async def deleted_ms(connection: AsyncConnection, region: str, name: str) -> int | None:
    """When a queue of that name was last deleted, if that is not long ago."""
    found = (await connection.execute(_DELETED, _key(region, name))).scalar_one_or_none()
    return None if found is None else int(found)


async def page(connection: AsyncConnection, region: str, prefix: str, after: str, limit: int) -> list[str]:
    """Names behind `after` that begin with `prefix`."""
    range_ = {"in_region": region, "prefix": prefix, "beyond": f"{prefix}{_BEHIND_ALL}"}
    result = await connection.execute(_PAGE, {**range_, "after": after, "limit": limit})
    return [row[0] for row in result]


async def sources(connection: AsyncConnection, dead_letter_arn: str, after: str, limit: int) -> list[str]:
    """Names behind `after` of the queues whose redrive policy has this target; all are in its region."""
    result = await connection.execute(_SOURCES, {"arn": dead_letter_arn, "after": after, "limit": limit})
    return [row[0] for row in result]
