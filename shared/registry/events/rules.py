"""Queries on rules and their targets. Writers hold the lock on the bus (`buses.lock`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.event_buses import Rule, RuleState, RuleTarget
from shared.registry import timers
from shared.registry.events.buses import now_ms, touch
from shared.registry.events.tables import RuleTable, TargetTable

_RULE: tuple[ColumnElement[Any], ...] = (
    RuleTable.bus.expression,
    RuleTable.name.expression,
    RuleTable.pattern.expression,
    RuleTable.schedule.expression,
    RuleTable.state.expression,
    RuleTable.description.expression,
    RuleTable.role_arn.expression,
    RuleTable.tags.expression,
)
_TARGET: tuple[ColumnElement[Any], ...] = (
    TargetTable.rule.expression,
    TargetTable.id.expression,
    TargetTable.arn.expression,
    TargetTable.settings.expression,
)


def _rule(home: Home, row: Any) -> Rule:
    bus, name, pattern, schedule, state, *rest = row
    return Rule(home, bus, name, pattern, schedule, RuleState(state), *rest)


def _the(home: Home, bus: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return RuleTable.region == home.region, RuleTable.bus == bus, RuleTable.name == name


async def find(connection: AsyncConnection, home: Home, bus: str, name: str) -> Rule | None:
    row = (await connection.execute(select(*_RULE).where(*_the(home, bus, name)))).first()
    return None if row is None else _rule(home, row)


async def put(connection: AsyncConnection, rule: Rule) -> None:
    """Creates or replaces a rule; its targets stay."""
    values = {
        "pattern": rule.pattern,
        "schedule": rule.schedule,
        "state": rule.state.value,
        "description": rule.description,
        "role_arn": rule.role_arn,
        "tags": rule.tags,
    }
    await connection.execute(
        insert(RuleTable)
        .values(region=rule.home.region, bus=rule.bus, name=rule.name, **values)
        .on_conflict_do_update(index_elements=[RuleTable.region, RuleTable.bus, RuleTable.name], set_=values)
    )
    await _follow(connection, rule, rule.state)
    await touch(connection, rule.home, rule.bus)


async def change(connection: AsyncConnection, rule: Rule, **values: Any) -> None:
    """values: by column."""
    await connection.execute(update(RuleTable).where(*_the(rule.home, rule.bus, rule.name)).values(**values))
    await _follow(connection, rule, RuleState(values.get("state", rule.state)))
    await touch(connection, rule.home, rule.bus)


async def remove(connection: AsyncConnection, rule: Rule) -> None:
    await connection.execute(delete(RuleTable).where(*_the(rule.home, rule.bus, rule.name)))
    await _follow(connection, rule, RuleState.DISABLED)
    await touch(connection, rule.home, rule.bus)


async def _follow(connection: AsyncConnection, rule: Rule, state: RuleState) -> None:
    """The rule's timer, as the rule is now."""
    schedule = None if state is RuleState.DISABLED else rule.schedule
    await timers.follow_rule(connection, rule.arn, schedule, now_ms())


async def page(connection: AsyncConnection, home: Home, bus: str, prefix: str, after: str, limit: int) -> list[Rule]:
    statement = (
        select(*_RULE)
        .where(
            RuleTable.region == home.region,
            RuleTable.bus == bus,
            RuleTable.name > after,
            RuleTable.name.startswith(prefix, autoescape=True),
        )
        .order_by(RuleTable.name)
        .limit(limit)
    )
    return [_rule(home, row) for row in await connection.execute(statement)]


async def count(connection: AsyncConnection, home: Home, bus: str) -> int:
    statement = select(func.count()).select_from(RuleTable).where(RuleTable.region == home.region, RuleTable.bus == bus)
    return int((await connection.execute(statement)).scalar_one())


async def scheduled(connection: AsyncConnection, account_id: str) -> list[Rule]:
    """All rules with a schedule, of every region."""
    statement = select(RuleTable.region, *_RULE).where(RuleTable.schedule.is_not(None))
    return [_rule(Home(account_id, row[0]), row[1:]) for row in await connection.execute(statement)]


async def all_of(connection: AsyncConnection, home: Home, bus: str) -> list[tuple[Rule, list[RuleTarget]]]:
    """The rules of a bus with their targets."""
    of_bus = (TargetTable.region == home.region, TargetTable.bus == bus)
    by_rule: dict[str, list[RuleTarget]] = {}
    for row in await connection.execute(select(*_TARGET).where(*of_bus).order_by(TargetTable.rule, TargetTable.id)):
        by_rule.setdefault(row[0], []).append(RuleTarget(*row))
    rules = await connection.execute(select(*_RULE).where(RuleTable.region == home.region, RuleTable.bus == bus))
    return [(_rule(home, row), by_rule.get(row[1], [])) for row in rules]


async def put_targets(connection: AsyncConnection, rule: Rule, targets: Sequence[RuleTarget]) -> None:
    for target in targets:
        values = {"arn": target.arn, "arn_digest": digest(target.arn), "settings": target.settings}
        key = [TargetTable.region, TargetTable.bus, TargetTable.rule, TargetTable.id]
        await connection.execute(
            insert(TargetTable)
            .values(region=rule.home.region, bus=rule.bus, rule=rule.name, id=target.id, **values)
            .on_conflict_do_update(index_elements=key, set_=values)
        )
    await touch(connection, rule.home, rule.bus)


async def remove_targets(connection: AsyncConnection, rule: Rule, ids: Sequence[str]) -> set[str]:
    """Those that there were."""
    statement = delete(TargetTable).where(*_of_rule(rule), TargetTable.id.in_(ids)).returning(TargetTable.id)
    removed = {row[0] for row in await connection.execute(statement)}
    await touch(connection, rule.home, rule.bus)
    return removed


async def targets(connection: AsyncConnection, rule: Rule, after: str, limit: int) -> list[RuleTarget]:
    statement = select(*_TARGET).where(*_of_rule(rule), TargetTable.id > after).order_by(TargetTable.id).limit(limit)
    return [RuleTarget(*row) for row in await connection.execute(statement)]


async def target_ids(connection: AsyncConnection, rule: Rule) -> set[str]:
    return {row[0] for row in await connection.execute(select(TargetTable.id).where(*_of_rule(rule)))}


async def names_by_target(connection: AsyncConnection, home: Home, bus: str, arn: str, after: str, limit: int) -> list[str]:
    statement = (
        select(TargetTable.rule)
        .distinct()
        .where(
            TargetTable.region == home.region,
            TargetTable.arn_digest == digest(arn),
            TargetTable.bus == bus,
            TargetTable.rule > after,
        )
        .order_by(TargetTable.rule)
        .limit(limit)
    )
    return [row[0] for row in await connection.execute(statement)]


def _of_rule(rule: Rule) -> tuple[ColumnElement[bool], ...]:
    return TargetTable.region == rule.home.region, TargetTable.bus == rule.bus, TargetTable.rule == rule.name


def digest(arn: str) -> str:
    return hashlib.sha256(arn.encode()).hexdigest()
