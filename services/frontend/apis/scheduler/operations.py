"""The table of EventBridge Scheduler's operations: all that its model has."""

from __future__ import annotations

import functools

from services.frontend.apis.scheduler import groups, schedules
from services.frontend.apis.scheduler.context import SchedulerContext
from services.frontend.endpoint.api import Api, Handler
from shared.aws.service_model import load_service_model
from shared.registry.registry import Registry

OPERATIONS = {
    "CreateSchedule": schedules.create_schedule,
    "CreateScheduleGroup": groups.create_group,
    "DeleteSchedule": schedules.delete_schedule,
    "DeleteScheduleGroup": groups.delete_group,
    "GetSchedule": schedules.get_schedule,
    "GetScheduleGroup": groups.get_group,
    "ListScheduleGroups": groups.list_groups,
    "ListSchedules": schedules.list_schedules,
    "ListTagsForResource": groups.list_tags,
    "TagResource": groups.tag,
    "UntagResource": groups.untag,
    "UpdateSchedule": schedules.update_schedule,
}


def scheduler_api(registry: Registry) -> Api:
    context = SchedulerContext(registry)
    operations: dict[str, Handler] = {name: functools.partial(handler, context) for name, handler in OPERATIONS.items()}
    return Api(load_service_model("scheduler"), operations, internal_error="InternalServerException")
