"""What EventBridge Scheduler's operations do to schedules, groups and timers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.frontend.apis.scheduler.operations import scheduler_api
from services.frontend.edge.identity import root_caller
from services.frontend.endpoint.api import Call
from shared.domain.arns import Home
from shared.domain.errors import ApiError, ResourceNotFoundException, ValidationException
from shared.domain.schedules import schedule_arn
from shared.domain.timers import Timer
from shared.registry import timers
from shared.registry.registry import Registry
from tests.integration.registry.support import new_database, settings_of

HOME = Home("000000000000", "us-east-1")
NOW, MINUTE, HOUR = 1_750_000_000_000, 60_000, 3_600_000
GROUP_ARN = "arn:aws:scheduler:us-east-1:000000000000:schedule-group"
USUAL: dict[str, Any] = {
    "ScheduleExpression": "rate(10 minutes)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "Target": {"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": "arn:aws:iam::000000000000:role/r"},
}


class Api:
    """now_ms: what the frontend's clock shows."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._operations = scheduler_api(registry).operations
        self.now_ms = NOW

    async def __call__(self, operation: str, *, home: Home = HOME, **params: Any) -> dict[str, Any]:
        call = Call(root_caller(HOME.account_id, None), home, "request")
        return await self._operations[operation](call, params) or {}

    async def make(self, name: str, **more: Any) -> dict[str, Any]:
        return await self("CreateSchedule", **{"Name": name, **USUAL, **more})

    async def update(self, name: str, **more: Any) -> dict[str, Any]:
        return await self("UpdateSchedule", **{"Name": name, **USUAL, **more})

    async def timer(self, name: str, group: str = "default") -> Timer | None:
        async with self._registry.write() as connection:
            return await timers.lock(connection, schedule_arn(HOME, group, name))

    async def due_ms(self, name: str) -> int | None:
        timer = await self.timer(name)
        return None if timer is None or timer.due_ms is None else timer.due_ms - NOW


@pytest_asyncio.fixture(scope="module")
async def registry(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    async with new_database(postgres_engine) as url:
        registry = Registry(settings_of(url, Path(tmp_path_factory.mktemp("scheduler"))))
        await registry.migrate()
        await registry.open()
        yield registry
        await registry.close()


@pytest.fixture
def api(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api(registry)
    for module in ("schedules", "groups", "context"):
        monkeypatch.setattr(f"services.frontend.apis.scheduler.{module}.now_ms", lambda: api.now_ms)
    return api


async def test_a_rate_keeps_its_phase_through_updates_that_do_not_change_when_it_is(api: Api) -> None:
    await api.make("phase")
    assert await api.due_ms("phase") == 0
    api.now_ms = NOW + 25 * MINUTE
    await api.update("phase", Description="another", Target={**USUAL["Target"], "Input": "x"})
    assert await api.due_ms("phase") == 30 * MINUTE
    await api.update("phase", State="DISABLED")
    assert await api.due_ms("phase") is None
    api.now_ms = NOW + 47 * MINUTE
    await api.update("phase")
    assert await api.due_ms("phase") == 50 * MINUTE
    await api.update("phase", ScheduleExpression="rate(1 hour)")
    assert await api.due_ms("phase") == 47 * MINUTE


async def test_an_update_replaces_all_of_a_schedule(api: Api) -> None:
    await api.make("whole", Description="d", ActionAfterCompletion="DELETE", EndDate=NOW / 1000 + 3600)
    api.now_ms = NOW + MINUTE
    await api.update("whole", FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5})
    found = await api("GetSchedule", Name="whole")
    assert (found["Description"], found["EndDate"], found["ActionAfterCompletion"]) == (None, None, "NONE")
    assert found["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}
    assert (found["CreationDate"], found["LastModificationDate"]) == (NOW / 1000, NOW / 1000 + 60)


async def test_a_group_that_is_deleted_takes_its_schedules_and_what_they_would_fire_along(api: Api) -> None:
    for group in ("goes", "goes-not", "goes0"):
        await api("CreateScheduleGroup", Name=group)
        await api.make("s", GroupName=group)
    await api("DeleteScheduleGroup", Name="goes")
    assert await api.timer("s", "goes") is None
    assert await api.timer("s", "goes-not") is not None
    assert await api.timer("s", "goes0") is not None
    with pytest.raises(ResourceNotFoundException, match=r"Schedule group goes does not exist\."):
        await api("GetSchedule", Name="s", GroupName="goes")
    with pytest.raises(ResourceNotFoundException, match=r"Schedule group goes does not exist\."):
        await api("ListSchedules", GroupName="goes")
    with pytest.raises(ValidationException):
        await api("DeleteScheduleGroup", Name="default")


async def test_no_schedule_is_left_over_when_it_is_made_while_its_group_goes(api: Api) -> None:
    for turn in range(5):
        group = f"race-{turn}"
        await api("CreateScheduleGroup", Name=group)
        making = [api.make(f"s{number}", GroupName=group) for number in range(4)]
        ends = await asyncio.gather(*making, api("DeleteScheduleGroup", Name=group), return_exceptions=True)
        assert all(isinstance(end, dict | ResourceNotFoundException) for end in ends), ends
        for number in range(4):
            assert await api.timer(f"s{number}", group) is None


async def test_a_client_token_makes_a_write_once(api: Api) -> None:
    first = await api.make("token", ClientToken="one")
    assert await api.make("token", ClientToken="one") == first
    with pytest.raises(ApiError, match="used for another request"):
        await api.make("token", ClientToken="one", Description="another")
    await api("DeleteSchedule", Name="token", ClientToken="two")
    assert await api("DeleteSchedule", Name="token", ClientToken="two") == {}
    with pytest.raises(ResourceNotFoundException, match=r"Schedule token does not exist\."):
        await api("DeleteSchedule", Name="token", ClientToken="three")
    # What was refused has used no token.
    assert await api.make("token", ClientToken="three")


async def test_tags_are_a_groups_alone(api: Api) -> None:
    await api("CreateScheduleGroup", Name="tagged", Tags=[{"Key": "a", "Value": "1"}])
    arn = f"{GROUP_ARN}/tagged"
    await api("TagResource", ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}])
    await api("UntagResource", ResourceArn=arn, TagKeys=["b", "gone"])
    assert await api("ListTagsForResource", ResourceArn=arn) == {"Tags": [{"Key": "a", "Value": "2"}]}
    with pytest.raises(ResourceNotFoundException):
        await api("ListTagsForResource", ResourceArn=arn.replace("us-east-1", "eu-west-1"))
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
    with pytest.raises(ValidationException):
        await api("TagResource", ResourceArn=arn, Tags=many)


async def test_lists_have_pages_prefixes_and_states(api: Api) -> None:
    await api("CreateScheduleGroup", Name="listed")
    for name in ("a_1", "a-2", "b"):
        await api.make(name, GroupName="listed", State="DISABLED" if name == "b" else "ENABLED")

    async def names(**params: Any) -> list[str]:
        reply = await api("ListSchedules", GroupName="listed", **params)
        return [each["Name"] for each in reply["Schedules"]] + (["more"] if "NextToken" in reply else [])

    assert await names() == ["a-2", "a_1", "b"]
    assert await names(NamePrefix="a_") == ["a_1"]
    assert await names(State="DISABLED") == ["b"]
    assert await names(MaxResults=2) == ["a-2", "a_1", "more"]
    token = (await api("ListSchedules", GroupName="listed", MaxResults=2))["NextToken"]
    assert await names(MaxResults=2, NextToken=token) == ["b"]
    assert "default" in [each["Name"] for each in (await api("ListScheduleGroups"))["ScheduleGroups"]]
    with pytest.raises(ValidationException):
        await names(NextToken="made up")


async def test_what_is_in_one_region_is_not_in_another(api: Api) -> None:
    await api.make("here")
    elsewhere = Home(HOME.account_id, "eu-west-1")
    with pytest.raises(ResourceNotFoundException, match=r"Schedule here does not exist\."):
        await api("GetSchedule", home=elsewhere, Name="here")
    assert (await api("ListSchedules", home=elsewhere))["Schedules"] == []


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        ({"StartDate": NOW / 1000 - 301}, r"The StartDate you specify cannot be earlier than 5 minutes ago\."),
        ({"EndDate": NOW / 1000 - 1}, "EndDate"),
        ({"StartDate": NOW / 1000 + 60, "EndDate": NOW / 1000 + 60}, "EndDate"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "Timezone"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
        ({"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}}, "MaximumWindowInMinutes"),
    ],
)
async def test_what_cannot_be_is_refused(api: Api, odd: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationException, match=text):
        await api.make("odd", **odd)


async def test_the_bounds_of_a_one_time_schedule_are_not_looked_at(api: Api) -> None:
    more = {"ScheduleExpression": "at(2025-06-15T16:00:00)", "StartDate": 1.0, "EndDate": 2.0}
    await api.make("once", **more)
    assert await api.due_ms("once") == 1_750_003_200_000 - NOW
