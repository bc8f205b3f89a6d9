from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from services.frontend.apis.lambda_ import naming
from services.frontend.apis.lambda_.context import ControlContext
from shared.domain.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ServiceException,
)
from shared.registry.records import FunctionVersion
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.integration.registry.support import OTHER_ZIP, ZIP, Control, function_request
from tests.support import PATIENCE_S


async def test_of_many_creators_of_one_name_one_wins(control: Control, registry_settings: Settings) -> None:
    second = Registry(registry_settings)
    controls = [control, Control(registry_settings, second)] * 6
    results = await asyncio.gather(
        *(each("CreateFunction", **function_request("contested")) for each in controls), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert len(refused) == len(controls) - 1
    assert all(isinstance(error, ResourceConflictException) for error in refused)
    assert str(refused[0]) == "Function already exist: contested"
    await second.close()


async def test_concurrent_writers_never_lose_an_update(control: Control, registry_settings: Settings) -> None:
    """Every tag written by one of two processes is there at the end."""
    name = await control.create()
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    second = Registry(registry_settings)
    controls = [control, Control(registry_settings, second)]
    await asyncio.gather(
        *(controls[number % 2]("TagResource", Resource=arn, Tags={f"key{number}": "value"}) for number in range(40))
    )
    assert len((await control("ListTags", Resource=arn))["Tags"]) == 40
    await second.close()


async def test_of_many_writers_with_one_revision_id_one_wins(control: Control) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    alias = await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    results = await asyncio.gather(
        *(
            control("UpdateAlias", FunctionName=name, Name="live", Description=str(n), RevisionId=alias["RevisionId"])
            for n in range(10)
        ),
        return_exceptions=True,
    )
    won = [result for result in results if isinstance(result, dict)]
    assert len(won) == 1
    assert all(isinstance(result, PreconditionFailedException) for result in results if result is not won[0])
    assert (await control("GetAlias", FunctionName=name, Name="live"))["Description"] == won[0]["Description"]


async def test_concurrent_publishers_make_one_version_of_one_content(control: Control) -> None:
    name = await control.create()
    published = await asyncio.gather(*(control("PublishVersion", FunctionName=name) for _ in range(8)))
    assert {reply["Version"] for reply in published} == {"1"}
    assert len({reply["RevisionId"] for reply in published}) == 1


@pytest.mark.parametrize("second", ["UpdateFunctionCode", "UpdateFunctionConfiguration"])
async def test_an_update_that_another_frontend_made_meanwhile_refuses_this_one(
    control: Control, registry_settings: Settings, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """Both read the function as it was; the first is not only made but settled before the second writes."""
    name = await control.create()
    await control.context.settled(deadline_s=10)
    registry = Registry(registry_settings)
    other = Control(registry_settings, registry)
    read, may_write, find = asyncio.Event(), asyncio.Event(), naming.find

    async def found(ctx: ControlContext, *which: str | None) -> FunctionVersion:
        result = await find(ctx, *which)
        if ctx is other.context and not read.is_set():
            read.set()
            await may_write.wait()
        return result

    monkeypatch.setattr(naming, "find", found)
    change = {"ZipFile": OTHER_ZIP} if second == "UpdateFunctionCode" else {"Timeout": 9}
    late = asyncio.create_task(other(second, FunctionName=name, **change))
    async with asyncio.timeout(PATIENCE_S):
        await read.wait()
        await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=5)
        await control.context.settled(deadline_s=10)
        assert (await control("GetFunctionConfiguration", FunctionName=name))["LastUpdateStatus"] == "Successful"
        may_write.set()
        with pytest.raises(ResourceConflictException) as refused:
            await late
    assert refused.value.message == (
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: arn:aws:lambda:us-east-1:000000000000:function:{name}"
    )
    await other(second, FunctionName=name, **change)
    await registry.close()


async def test_of_updates_at_once_one_is_made_and_those_in_turn_all_are(control: Control, registry_settings: Settings) -> None:
    name = await control.create()
    second = Registry(registry_settings)
    controls = [control, Control(registry_settings, second)]
    for timeout_s in range(3, 13):
        for each in controls:
            await each.context.settled(deadline_s=10)
        results = await asyncio.gather(
            *(each("UpdateFunctionConfiguration", FunctionName=name, Timeout=timeout_s) for each in controls * 3),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(error, ResourceConflictException) for error in refused)
        assert len(refused) < len(results)
    for timeout_s in range(20, 25):
        await control.context.settled(deadline_s=10)
        await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=timeout_s)
    await second.close()


@pytest.mark.parametrize("publish", [True, False], ids=["published", "unpublished"])
async def test_what_settles_has_another_revision_id_than_it_was_made_with(control: Control, publish: bool) -> None:
    made = await control("CreateFunction", **function_request(f"settling-{publish}".lower()), Publish=publish)
    name = made["FunctionName"]
    await control.context.settled(deadline_s=10)
    shown = [await control("GetFunctionConfiguration", FunctionName=name, Qualifier=q) for q in ["$LATEST", "1"][: 1 + publish]]
    assert all(one["State"] == "Active" for one in shown)
    updated = await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP, Publish=publish)
    await control.context.settled(deadline_s=10)
    labels = ["$LATEST", "2"][: 1 + publish]
    after = [await control("GetFunctionConfiguration", FunctionName=name, Qualifier=label) for label in labels]
    seen = [made["RevisionId"], *(one["RevisionId"] for one in [*shown, updated, *after])]
    assert len(set(seen)) == len(seen)
    unchanged = [await control("GetFunctionConfiguration", FunctionName=name, Qualifier=label) for label in labels]
    assert unchanged == after


async def test_publishing_makes_a_version_of_every_update_even_to_the_same(control: Control) -> None:
    name = await control.create()
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "1"
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "1"
    for expected in ("2", "3"):
        await control.context.settled(deadline_s=10)
        reply = await control("UpdateFunctionCode", FunctionName=name, ZipFile=ZIP, Publish=True)
        assert reply["Version"] == expected
    assert (await control("PublishVersion", FunctionName=name, Description="ignored"))["Version"] == "3"
    await control.context.settled(deadline_s=10)
    await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=3)
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "4"


async def test_versions_never_change_and_their_numbers_are_never_given_again(control: Control) -> None:
    name = await control.create(Description="first")
    first = await control("PublishVersion", FunctionName=name)
    await control("UpdateFunctionConfiguration", FunctionName=name, Description="second", Timeout=30)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    assert await control("GetFunctionConfiguration", FunctionName=name, Qualifier="1") == first
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "2"
    await control("DeleteFunction", FunctionName=name, Qualifier="2")
    await control("UpdateFunctionConfiguration", FunctionName=name, Description="third")
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "3"


async def test_reservations_together_leave_a_hundred_executions_to_the_rest(control: Control, registry: Registry) -> None:
    async with registry.write() as connection:
        await connection.execute(text("UPDATE functions SET reserved_concurrency = NULL"))
    names = [await control.create() for _ in range(12)]
    results = await asyncio.gather(
        *(control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=100) for name in names),
        return_exceptions=True,
    )
    assert sum(isinstance(result, dict) for result in results) == 9
    refused = [result for result in results if isinstance(result, InvalidParameterValueException)]
    assert len(refused) == 3
    assert refused[0].fault is None
    assert min(told["us-east-1"] for told in control.announcer.unreserved) == 100
    account = await control("GetAccountSettings")
    assert account["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    for name in names:
        await control("DeleteFunction", FunctionName=name)
    assert (await control("GetAccountSettings"))["AccountLimit"]["UnreservedConcurrentExecutions"] == 1000


async def test_connections_that_died_while_idle_are_replaced_without_an_error(control: Control, registry: Registry) -> None:
    name = await control.create()
    async with registry.read() as one, registry.read() as two, registry.read() as admin:
        del one, two
        await admin.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await control("GetFunction", FunctionName=name)
                break
            except ServiceException:
                continue
    for _ in range(10):
        await control("GetFunction", FunctionName=name)


async def test_a_query_that_takes_too_long_is_given_up(registry_settings: Settings) -> None:
    settings = registry_settings.model_copy(deep=True)
    settings.registry.query_timeout_s = 0.2
    registry = Registry(settings)
    with pytest.raises(ServiceException):
        async with registry.read() as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))
    await registry.close()
