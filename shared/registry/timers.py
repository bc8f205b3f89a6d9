"""Queries on timers: when schedules and scheduled rules are due, and who fires what is.

Who changes a timer's owner locks the timer first (`lock`), then the owner's own row: that is the order in which firings take
them, too. `claim` gives a timer to one scheduler at a time; it stays that one's until the transaction ends.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.timers import Timer, Timing, planned, put_right, rule_timing
from shared.registry.rows import Row
from shared.registry.tables import TimerTable

_COLUMNS = (
    TimerTable.owner,
    TimerTable.generation,
    TimerTable.expression,
    TimerTable.time_zone,
    TimerTable.anchor_ms,
    TimerTable.start_ms,
    TimerTable.end_ms,
    TimerTable.window_ms,
    TimerTable.due_ms,
    TimerTable.fire_at_ms,
    TimerTable.last_due_ms,
    TimerTable.advanced_ms,
)
_LOCK = select(*_COLUMNS).where(TimerTable.owner == bindparam("timer")).with_for_update()
_CLAIM = (
    select(*_COLUMNS)
    .where(TimerTable.fire_at_ms <= bindparam("now_ms"))
    .order_by(TimerTable.fire_at_ms)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_NEXT = select(func.min(TimerTable.fire_at_ms)).where(TimerTable.fire_at_ms.is_not(None))
_AHEAD = (
    select(*_COLUMNS)
    .where(TimerTable.fire_at_ms.is_not(None), TimerTable.advanced_ms > bindparam("now_ms"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_SETTLE = (
    update(TimerTable)
    .where(TimerTable.owner == bindparam("timer"))
    .values(
        due_ms=bindparam("due"),
        fire_at_ms=bindparam("fire_at"),
        last_due_ms=bindparam("last_due"),
        advanced_ms=bindparam("now_ms"),
    )
)


async def start(connection: AsyncConnection, owner: str, timing: Timing, now_ms: int) -> None:
    """Of an owner that is new, or whose timing is. Raises InvalidExpressionError."""
    timer = Timer(owner, uuid.uuid4().hex, timing, None, None)
    await _put(connection, planned(timer, timing.first_due(now_ms), now_ms))


async def go_on(connection: AsyncConnection, timer: Timer, now_ms: int, *, paused: bool) -> None:
    """Of an owner that was changed and is due as before: what is to come, and not again what was fired."""
    await _put(connection, planned(timer, None, now_ms) if paused else put_right(timer, now_ms))


async def follow_rule(connection: AsyncConnection, rule_arn: str, expression: str | None, now_ms: int) -> None:
    """The timer of a rule as the rule is now. expression: None where it has none, is disabled or gone. A rule that is put again
    with the same one keeps its phase. Raises InvalidExpressionError."""
    if expression is None:
        await stop(connection, rule_arn)
        return
    known = await lock(connection, rule_arn)
    if known is None or known.timing.expression != expression:
        await start(connection, rule_arn, rule_timing(expression, now_ms), now_ms)


async def lock(connection: AsyncConnection, owner: str) -> Timer | None:
    """Kept from firing until the transaction ends; waits for a firing that is under way."""
    row = (await connection.execute(_LOCK, {"timer": owner})).first()
    return None if row is None else _timer_of(row)


async def stop(connection: AsyncConnection, owner: str) -> None:
    """Of an owner that is gone or not enabled; nothing where there is no timer."""
    await connection.execute(delete(TimerTable).where(TimerTable.owner == owner))


async def stop_all(connection: AsyncConnection, owners_begin_with: str) -> None:
    """owners_begin_with: up to and with the `/` before the name."""
    after = owners_begin_with[:-1] + chr(ord(owners_begin_with[-1]) + 1)
    await connection.execute(delete(TimerTable).where(TimerTable.owner >= owners_begin_with, TimerTable.owner < after))


async def claim(connection: AsyncConnection, now_ms: int, limit: int) -> list[Timer]:
    """Of those that fire by now, the earliest that nobody else has in hand."""
    return [_timer_of(row) for row in await connection.execute(_CLAIM, {"now_ms": now_ms, "limit": limit})]


async def settle(connection: AsyncConnection, timers: Sequence[Timer]) -> None:
    """Writes how claimed timers go on."""
    values = [
        {
            "timer": timer.owner,
            "due": timer.due_ms,
            "fire_at": timer.fire_at_ms,
            "last_due": timer.last_due_ms,
            "now_ms": timer.advanced_ms,
        }
        for timer in timers
    ]
    if values:
        await connection.execute(_SETTLE, values)


async def next_at_ms(connection: AsyncConnection) -> int | None:
    """When the next timer fires."""
    found: int | None = (await connection.execute(_NEXT)).scalar()
    return found


async def put_back(connection: AsyncConnection, now_ms: int, limit: int) -> int:
    """After the clock has been put back: so many of the timers that were advanced by a clock that was ahead. Reads them all."""
    ahead = [_timer_of(row) for row in await connection.execute(_AHEAD, {"now_ms": now_ms, "limit": limit})]
    await settle(connection, [put_right(timer, now_ms) for timer in ahead])
    return len(ahead)


async def _put(connection: AsyncConnection, timer: Timer) -> None:
    values = {
        "owner": timer.owner,
        "generation": timer.generation,
        "due_ms": timer.due_ms,
        "fire_at_ms": timer.fire_at_ms,
        "last_due_ms": timer.last_due_ms,
        "advanced_ms": timer.advanced_ms,
        **msgspec.structs.asdict(timer.timing),
    }
    statement = insert(TimerTable).values(values)
    await connection.execute(statement.on_conflict_do_update(index_elements=[TimerTable.owner], set_=values))


def _timer_of(row: Row) -> Timer:
    (
        owner,
        generation,
        expression,
        zone,
        anchor_ms,
        start_ms,
        end_ms,
        window_ms,
        due_ms,
        fire_at_ms,
        last_due_ms,
        advanced_ms,
    ) = row
    timing = Timing(expression, zone, anchor_ms, start_ms, end_ms, window_ms)
    return Timer(owner, generation, timing, due_ms, fire_at_ms, last_due_ms, advanced_ms)
