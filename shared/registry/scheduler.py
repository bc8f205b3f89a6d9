"""Queries on what EventBridge Scheduler remembers: groups, schedules, client tokens. When a schedule is due: timers.py.

Who makes a schedule holds its group (`share_group`), who deletes a group locks it. A schedule's timer is locked before its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.schedules import DEFAULT_GROUP, Group, Schedule
from shared.registry.rows import Row
from shared.registry.tables import ScheduleGroupTable, SchedulerTokenTable, ScheduleTable

TOKEN_LIFE_MS = 8 * 3_600_000
"""After which a client token may mean something else."""
_GROUP = (ScheduleGroupTable.name, ScheduleGroupTable.tags, ScheduleGroupTable.created_ms, ScheduleGroupTable.modified_ms)
_SCHEDULE = (
    ScheduleTable.group_name,
    ScheduleTable.name,
    ScheduleTable.expression,
    ScheduleTable.time_zone,
    ScheduleTable.state,
    ScheduleTable.description,
    ScheduleTable.kms_key_arn,
    ScheduleTable.start_ms,
    ScheduleTable.end_ms,
    ScheduleTable.window_minutes,
    ScheduleTable.after_completion,
    ScheduleTable.target,
    ScheduleTable.created_ms,
    ScheduleTable.modified_ms,
)


async def find_group(connection: AsyncConnection, home: Home, name: str, now_ms: int) -> Group | None:
    """now_ms: since when the group `default` is there, if nobody has asked for it before."""
    return await _group(connection, home, name, now_ms)


async def share_group(connection: AsyncConnection, home: Home, name: str, now_ms: int) -> Group | None:
    """A group, kept from being deleted until the transaction ends."""
    return await _group(connection, home, name, now_ms, share=True)


async def lock_group(connection: AsyncConnection, home: Home, name: str, now_ms: int) -> Group | None:
    """A group, kept from other writers and from new schedules until the transaction ends."""
    return await _group(connection, home, name, now_ms, lock=True)


async def create_group(connection: AsyncConnection, group: Group) -> bool:
    """False where there is one of the name."""
    statement = insert(ScheduleGroupTable).values(
        region=group.home.region,
        name=group.name,
        tags=group.tags,
        created_ms=group.created_ms,
        modified_ms=group.modified_ms,
    )
    done = await connection.execute(statement.on_conflict_do_nothing().returning(ScheduleGroupTable.name))
    return done.first() is not None


async def tag_group(connection: AsyncConnection, group: Group) -> None:
    """Writes the tags of a locked group."""
    statement = update(ScheduleGroupTable).where(*_is_group(group.home, group.name))
    await connection.execute(statement.values(tags=group.tags, modified_ms=group.modified_ms))


async def delete_group(connection: AsyncConnection, group: Group) -> None:
    """A locked group and its schedules, whose timers are stopped."""
    await connection.execute(
        delete(ScheduleTable).where(ScheduleTable.region == group.home.region, ScheduleTable.group_name == group.name)
    )
    await connection.execute(delete(ScheduleGroupTable).where(*_is_group(group.home, group.name)))


async def page_of_groups(
    connection: AsyncConnection, home: Home, prefix: str, after: str, limit: int, now_ms: int
) -> list[Group]:
    """Those that follow `after`, by name."""
    await find_group(connection, home, DEFAULT_GROUP, now_ms)
    found = select(*_GROUP).where(
        ScheduleGroupTable.region == home.region,
        ScheduleGroupTable.name > after,
        ScheduleGroupTable.name.startswith(prefix, autoescape=True),
    )
    rows = await connection.execute(found.order_by(ScheduleGroupTable.name).limit(limit))
    return [_group_of(home, row) for row in rows]


async def find_schedule(connection: AsyncConnection, home: Home, group: str, name: str) -> Schedule | None:
    row = (await connection.execute(select(*_SCHEDULE).where(*_is_schedule(home, group, name)))).first()
    return None if row is None else _schedule_of(home, row)


async def lock_schedule(connection: AsyncConnection, home: Home, group: str, name: str) -> Schedule | None:
    """Its timer was locked before."""
    statement = select(*_SCHEDULE).where(*_is_schedule(home, group, name)).with_for_update()
    row = (await connection.execute(statement)).first()
    return None if row is None else _schedule_of(home, row)


async def find_schedules(connection: AsyncConnection, home: Home, names: Sequence[tuple[str, str]]) -> list[Schedule]:
    """names: groups and names."""
    statement = select(*_SCHEDULE).where(
        ScheduleTable.region == home.region, tuple_(ScheduleTable.group_name, ScheduleTable.name).in_(names)
    )
    return [_schedule_of(home, row) for row in await connection.execute(statement)]


async def create_schedule(connection: AsyncConnection, schedule: Schedule) -> bool:
    """False where its group has one of the name."""
    statement = insert(ScheduleTable).values(_values(schedule))
    done = await connection.execute(statement.on_conflict_do_nothing().returning(ScheduleTable.name))
    return done.first() is not None


async def replace_schedule(connection: AsyncConnection, schedule: Schedule) -> None:
    """Writes all of a locked schedule."""
    statement = update(ScheduleTable).where(*_is_schedule(schedule.home, schedule.group, schedule.name))
    await connection.execute(statement.values(_values(schedule)))


async def delete_schedule(connection: AsyncConnection, home: Home, group: str, name: str) -> bool:
    """Whether it was there."""
    statement = delete(ScheduleTable).where(*_is_schedule(home, group, name)).returning(ScheduleTable.name)
    return (await connection.execute(statement)).first() is not None


async def page_of_schedules(
    connection: AsyncConnection,
    home: Home,
    *,
    group: str | None,
    prefix: str,
    state: str | None,
    after: tuple[str, str],
    limit: int,
) -> list[Schedule]:
    """Those that follow `after` (group, name), by group and name. group, state: None for all."""
    found = select(*_SCHEDULE).where(
        ScheduleTable.region == home.region,
        tuple_(ScheduleTable.group_name, ScheduleTable.name) > after,
        ScheduleTable.name.startswith(prefix, autoescape=True),
    )
    if group is not None:
        found = found.where(ScheduleTable.group_name == group)
    if state is not None:
        found = found.where(ScheduleTable.state == state)
    rows = await connection.execute(found.order_by(ScheduleTable.group_name, ScheduleTable.name).limit(limit))
    return [_schedule_of(home, row) for row in rows]


async def take_token(connection: AsyncConnection, home: Home, token: str, digest: str, now_ms: int) -> str | None:
    """None for a token that is new: it is kept. Else the digest of what it was first used for."""
    statement = insert(SchedulerTokenTable).values(region=home.region, token=token, digest=digest, used_ms=now_ms)
    new = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[SchedulerTokenTable.region, SchedulerTokenTable.token],
            set_={"digest": digest, "used_ms": now_ms},
            where=SchedulerTokenTable.used_ms < now_ms - TOKEN_LIFE_MS,
        ).returning(SchedulerTokenTable.token)
    )
    if new.first() is not None:
        return None
    found = select(SchedulerTokenTable.digest).where(
        SchedulerTokenTable.region == home.region, SchedulerTokenTable.token == token
    )
    known: str | None = (await connection.execute(found)).scalar()
    return known


async def forget_tokens(connection: AsyncConnection, now_ms: int) -> None:
    """Those whose life is over."""
    await connection.execute(delete(SchedulerTokenTable).where(SchedulerTokenTable.used_ms < now_ms - TOKEN_LIFE_MS))


async def _group(
    connection: AsyncConnection, home: Home, name: str, now_ms: int, *, lock: bool = False, share: bool = False
) -> Group | None:
    statement = select(*_GROUP).where(*_is_group(home, name))
    if lock or share:
        statement = statement.with_for_update(read=share, key_share=share)
    row = (await connection.execute(statement)).first()
    if row is None and name == DEFAULT_GROUP:
        await create_group(connection, Group(home, name, {}, now_ms, now_ms))
        row = (await connection.execute(statement)).first()
    return None if row is None else _group_of(home, row)


def _is_group(home: Home, name: str) -> tuple[Any, ...]:
    return ScheduleGroupTable.region == home.region, ScheduleGroupTable.name == name


def _is_schedule(home: Home, group: str, name: str) -> tuple[Any, ...]:
    return ScheduleTable.region == home.region, ScheduleTable.group_name == group, ScheduleTable.name == name


def _group_of(home: Home, row: Row) -> Group:
    name, tags, created_ms, modified_ms = row
    return Group(home, name, tags, created_ms, modified_ms)


def _schedule_of(home: Home, row: Row) -> Schedule:
    return Schedule(home, *row)


def _values(schedule: Schedule) -> dict[str, object]:
    return {
        "region": schedule.home.region,
        "group_name": schedule.group,
        "name": schedule.name,
        "expression": schedule.expression,
        "time_zone": schedule.time_zone,
        "state": schedule.state,
        "description": schedule.description,
        "kms_key_arn": schedule.kms_key_arn,
        "start_ms": schedule.start_ms,
        "end_ms": schedule.end_ms,
        "window_minutes": schedule.window_minutes,
        "after_completion": schedule.after_completion,
        "target": schedule.target,
        "created_ms": schedule.created_ms,
        "modified_ms": schedule.modified_ms,
    }
