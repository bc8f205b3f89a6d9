"""Schedule groups and their tags. A group that is deleted takes its schedules along, at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from services.frontend.apis.scheduler import pages
from services.frontend.apis.scheduler.context import (
    AlreadyDone,
    ConflictException,
    Reply,
    SchedulerContext,
    no_group,
    now_ms,
)
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import Home, home_of
from shared.domain.errors import ValidationException
from shared.domain.schedules import DEFAULT_GROUP, Group, group_arn, schedule_arn
from shared.registry import scheduler, timers

TAGS_MAX = 50
ACTIVE = "ACTIVE"


async def create_group(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    name = params["Name"]
    now = now_ms()
    group = Group(call.home, name, _merged({}, _tags(params.get("Tags"))), now, now)
    try:
        async with ctx.write("CreateScheduleGroup", call, params) as connection:
            if name == DEFAULT_GROUP or not await scheduler.create_group(connection, group):
                raise ConflictException(f"Schedule group {name} already exists.")
    except AlreadyDone:
        pass
    return {"ScheduleGroupArn": group.arn}


async def get_group(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    return shown(await _existing(ctx, call.home, params["Name"]))


async def delete_group(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    name = params["Name"]
    if name == DEFAULT_GROUP:
        raise ValidationException("The default schedule group cannot be deleted.")
    try:
        async with ctx.write("DeleteScheduleGroup", call, params) as connection:
            group = await scheduler.lock_group(connection, call.home, name, now_ms())
            if group is None:
                raise no_group(name)
            await timers.stop_all(connection, schedule_arn(call.home, name, ""))
            await scheduler.delete_group(connection, group)
    except AlreadyDone:
        pass
    return {}


async def list_groups(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    limit = pages.size(params)
    after = pages.after(params, str, "")
    prefix = params.get("NamePrefix") or ""
    async with ctx.registry.read() as connection:
        found = await scheduler.page_of_groups(connection, call.home, prefix, after, limit + 1, now_ms())
    reply: Reply = {"ScheduleGroups": [shown(group) for group in found[:limit]]}
    return pages.continued(reply, found, limit, lambda group: group.name)


async def list_tags(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    group = await _existing(ctx, call.home, _named(call, params))
    return {"Tags": [{"Key": key, "Value": value} for key, value in group.tags.items()]}


async def tag(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    await _change_tags(ctx, call, params, lambda tags: _merged(tags, _tags(params["Tags"])))
    return {}


async def untag(ctx: SchedulerContext, call: Call, params: Params) -> Reply:
    gone = set(params["TagKeys"])
    await _change_tags(ctx, call, params, lambda tags: {key: value for key, value in tags.items() if key not in gone})
    return {}


def shown(group: Group) -> Reply:
    return {
        "Arn": group.arn,
        "CreationDate": group.created_ms / 1000,
        "LastModificationDate": group.modified_ms / 1000,
        "Name": group.name,
        "State": ACTIVE,
    }


async def _change_tags(
    ctx: SchedulerContext, call: Call, params: Params, changed: Callable[[Mapping[str, str]], dict[str, str]]
) -> None:
    name = _named(call, params)
    now = now_ms()
    async with ctx.registry.write() as connection:
        group = await scheduler.lock_group(connection, call.home, name, now)
        if group is None:
            raise no_group(name)
        await scheduler.tag_group(connection, msgspec.structs.replace(group, tags=changed(group.tags), modified_ms=now))


async def _existing(ctx: SchedulerContext, home: Home, name: str) -> Group:
    async with ctx.registry.read() as connection:
        group = await scheduler.find_group(connection, home, name, now_ms())
    if group is None:
        raise no_group(name)
    return group


def _named(call: Call, params: Params) -> str:
    """The group of an ARN, which the model has checked. Raises ResourceNotFoundException for one of another home."""
    arn: str = params["ResourceArn"]
    name = arn.rpartition("/")[2]
    if home_of(arn) != call.home or arn != group_arn(call.home, name):
        raise no_group(name)
    return name


def _tags(sent: list[dict[str, str]] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in sent or []:
        if item["Key"] in found:
            raise ValidationException("Duplicate tag keys are not allowed.")
        found[item["Key"]] = item["Value"]
    return found


def _merged(current: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    tags = {**current, **added}
    if len(tags) > TAGS_MAX:
        raise ValidationException("Number of tags exceeds resource tag limit.")
    return tags
