"""Schedules. A write and its timer are one transaction: what was acknowledged fires."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.scheduler import pages
from services.frontend.apis.scheduler.context import (
    AlreadyDone,
    ConflictException,
    Reply,
    SchedulerContext,
    group_of,
    no_group,
    no_schedule,
    now_ms,
)
from services.frontend.apis.scheduler.rules import FLEXIBLE, checked
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import Home
from shared.domain.errors import ResourceNotFoundException
from shared.domain.schedules import ENABLED, Schedule, schedule_arn
from shared.registry import scheduler, timers


async def create_schedule(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    now = now_ms()
    schedule = checked(call.home, params, now)
    try:
        async with ctx.write("CreateSchedule", call, params) as connection:
            if await scheduler.share_group(connection, call.home, schedule.group, now) is None:
                raise no_group(schedule.group)
            if not await scheduler.create_schedule(connection, schedule):
                raise ConflictException(f"Schedule {schedule.name} already exists.")
            if schedule.state == ENABLED:
                await timers.start(connection, schedule.arn, schedule.timing(now), now)
    except AlreadyDone:
        pass
    return {"ScheduleArn": schedule.arn}


async def update_schedule(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    """Replaces all of it: what is not sent is as if it had never been. A rate whose expression and start are sent again keeps
    its phase."""
    now = now_ms()
    new = checked(call.home, params, now)
    try:
        async with ctx.write("UpdateSchedule", call, params) as connection:
            timer = await timers.lock(connection, new.arn)
            old = await scheduler.lock_schedule(connection, call.home, new.group, new.name)
            if old is None:
                raise await _missing(connection, call.home, new.group, new.name)
            new = msgspec.structs.replace(new, created_ms=old.created_ms)
            await scheduler.replace_schedule(connection, new)
            if timer is not None and _times(new) == _times(old):
                timing = msgspec.structs.replace(new.timing(now), anchor_ms=timer.timing.anchor_ms)
                timer = msgspec.structs.replace(timer, timing=timing)
                await timers.go_on(connection, timer, now, paused=new.state != ENABLED)
            elif new.state == ENABLED:
                await timers.start(connection, new.arn, new.timing(now), now)
            else:
                await timers.stop(connection, new.arn)
    except AlreadyDone:
        pass
    return {"ScheduleArn": new.arn}


async def delete_schedule(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    group, name = group_of(params), params["Name"]
    try:
        async with ctx.write("DeleteSchedule", call, params) as connection:
            await timers.stop(connection, schedule_arn(call.home, group, name))
            if not await scheduler.delete_schedule(connection, call.home, group, name):
                raise await _missing(connection, call.home, group, name)
    except AlreadyDone:
        pass
    return {}


async def get_schedule(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    group, name = group_of(params), params["Name"]
    async with ctx.registry.read() as connection:
        schedule = await scheduler.find_schedule(connection, call.home, group, name)
        if schedule is None:
            raise await _missing(connection, call.home, group, name)
    return shown(schedule)


async def list_schedules(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    limit = pages.size(params)
    after = pages.after(params, tuple[str, str], ("", ""))
    group = params.get("GroupName")
    async with ctx.registry.read() as connection:
        if group is not None and await scheduler.find_group(connection, call.home, group, now_ms()) is None:
            raise no_group(group)
        found = await scheduler.page_of_schedules(
            connection,
            call.home,
            group=group,
            prefix=params.get("NamePrefix") or "",
            state=params.get("State"),
            after=after,
            limit=limit + 1,
        )
    reply: Reply = {"Schedules": [_summary(schedule) for schedule in found[:limit]]}
    return pages.continued(reply, found, limit, lambda schedule: (schedule.group, schedule.name))


def shown(schedule: Schedule) -> Reply:
    window: dict[str, Any] = {"Mode": "OFF"}
    if schedule.window_minutes is not None:
        window = {"MaximumWindowInMinutes": schedule.window_minutes, "Mode": FLEXIBLE}
    return {
        "ActionAfterCompletion": schedule.after_completion,
        "Arn": schedule.arn,
        "CreationDate": schedule.created_ms / 1000,
        "Description": schedule.description,
        "EndDate": _seconds(schedule.end_ms),
        "FlexibleTimeWindow": window,
        "GroupName": schedule.group,
        "KmsKeyArn": schedule.kms_key_arn,
        "LastModificationDate": schedule.modified_ms / 1000,
        "Name": schedule.name,
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.time_zone,
        "StartDate": _seconds(schedule.start_ms),
        "State": schedule.state,
        "Target": schedule.target,
    }


def _summary(schedule: Schedule) -> Reply:
    return {
        "Arn": schedule.arn,
        "CreationDate": schedule.created_ms / 1000,
        "GroupName": schedule.group,
        "LastModificationDate": schedule.modified_ms / 1000,
        "Name": schedule.name,
        "State": schedule.state,
        "Target": {"Arn": schedule.target["Arn"]},
    }


def _times(schedule: Schedule) -> tuple[object, ...]:
    """What a schedule's phase hangs on."""
    return schedule.expression, schedule.time_zone, schedule.start_ms


async def _missing(connection: AsyncConnection, home: Home, group: str, name: str) -> ResourceNotFoundException:
    """The group is looked for before the schedule."""
    found = await scheduler.find_group(connection, home, group, now_ms())
    return no_group(group) if found is None else no_schedule(name)


def _seconds(at_ms: int | None) -> float | None:
    return None if at_ms is None else at_ms / 1000
