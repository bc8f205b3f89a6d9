"""EventBridge Scheduler: rest-json, schedules that need no target to be there, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from tests.conformance.facts import Fact
from tests.conformance.services.service import ACCOUNT, REGION, Service, unique
from tests.conformance.steps import Step


class Scheduler(Service):
    name, title, botocore, protocols = "scheduler", "EventBridge Scheduler", "scheduler", ("rest-json",)
    nothing = r"no (?:schedule|group) <\w+>.*"
    sentences = {
        r"group <group>": lambda fact, match: [Step("CreateScheduleGroup", {"Name": "<group>"})],
        r"as ([a-z.-]+)": lambda fact, match: as_after(match[1]),
    }
    forms: Mapping[str, str | None] = {"schedule-arn": rf"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/[\w.-]+"}

    def operations(self) -> Set[str]:
        from services.frontend.apis.scheduler.operations import OPERATIONS

        return OPERATIONS.keys()

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        schedule, group = unique("schedule"), unique("group")
        return {
            "schedule": schedule,
            "group": group,
            "group-arn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/{group}",
            "role-arn": f"arn:aws:iam::{ACCOUNT}:role/scheduler",
            "missing-fn-arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{unique('missing')}",
        }


def as_after(id: str) -> Sequence[Step]:
    """What another entry gives, and its call."""
    service = Scheduler()
    other = service.fact(id)
    assert other.call is not None
    return [*service.steps(other), Step(other.call, other.request)]
