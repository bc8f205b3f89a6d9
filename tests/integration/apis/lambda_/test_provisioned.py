"""Provisioned concurrency as it is asked for: what the recorded facts do not say, sums, aliases that move, and what the scheduler
reads and writes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from services.scheduler.provisioned.plans import RegistryPlans
from shared.domain.errors import (
    ApiError,
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.domain.provisioned import AllocationStatus
from shared.registry import functions, provisioned
from tests.integration.registry.support import Control

LIMIT = 1_000


@pytest.fixture(autouse=True)
async def _nothing_is_taken(control: Control) -> None:
    async with control.registry.write() as connection:
        await connection.execute(text("UPDATE functions SET reserved_concurrency = NULL"))
        await connection.execute(text("DELETE FROM provisioned_concurrency"))


async def versions(control: Control, count: int) -> str:
    """A function with so many published versions; its name."""
    name = await control.create()
    for number in range(count):
        await control("UpdateFunctionConfiguration", FunctionName=name, Description=f"version {number + 1}")
        await control("PublishVersion", FunctionName=name)
    return name


async def put(control: Control, name: str, qualifier: str, count: int) -> dict[str, Any]:
    request = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": count}
    return await control("PutProvisionedConcurrencyConfig", **request)


async def get(control: Control, name: str, qualifier: str) -> dict[str, Any]:
    return await control("GetProvisionedConcurrencyConfig", FunctionName=name, Qualifier=qualifier)


async def refused(control: Control, name: str, qualifier: str, count: int, kind: type[ApiError]) -> str:
    with pytest.raises(kind) as caught:
        await put(control, name, qualifier, count)
    return caught.value.message


async def test_what_is_asked_for_is_kept_and_announced(control: Control) -> None:
    name = await versions(control, 1)
    before = len(control.announcer.functions)
    reply = await put(control, name, "1", 5)
    assert reply["LastModified"].endswith("+0000")
    assert "." not in reply["LastModified"]
    assert len(control.announcer.functions) == before + 1
    assert await get(control, name, "1") == reply
    assert reply["Status"] == "IN_PROGRESS"
    again = await put(control, name, f"{'1'}", 7)
    assert again["RequestedProvisionedConcurrentExecutions"] == 7


async def test_all_of_a_function_fits_into_its_reserved_concurrency_whichever_is_set_first(control: Control) -> None:
    name = await versions(control, 2)
    await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=5)
    await put(control, name, "1", 3)
    too_many = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    assert await refused(control, name, "2", 3, InvalidParameterValueException) == too_many
    assert await refused(control, name, "1", 6, InvalidParameterValueException) == too_many
    await put(control, name, "2", 2)
    with pytest.raises(InvalidParameterValueException) as caught:
        await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=4)
    assert caught.value.message == (
        " ReservedConcurrentExecutions  4 should not be lower than function's total provisioned concurrency [5]."
    )
    assert caught.value.fault is None
    await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=5)
    await control("DeleteFunctionConcurrency", FunctionName=name)


async def test_the_account_keeps_its_unreserved_minimum_over_all_functions(control: Control) -> None:
    one, other = await versions(control, 1), await versions(control, 1)
    await put(control, one, "1", 400)
    await control("PutFunctionConcurrency", FunctionName=other, ReservedConcurrentExecutions=400)
    settings = await control("GetAccountSettings")
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == LIMIT - 800
    await put(control, other, "1", 400)
    third = await versions(control, 1)
    assert await refused(control, third, "1", 201, InvalidParameterValueException) == (
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [200]."
    )
    below = "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    assert await refused(control, third, "1", 101, InvalidParameterValueException) == below
    await put(control, third, "1", 100)
    assert await refused(control, one, "1", 401, InvalidParameterValueException) == below
    await put(control, one, "1", 399)
    with pytest.raises(InvalidParameterValueException, match="ReservedConcurrentExecutions for function decreases"):
        await control("PutFunctionConcurrency", FunctionName=third, ReservedConcurrentExecutions=102)
    await control("PutFunctionConcurrency", FunctionName=third, ReservedConcurrentExecutions=101)
    await control("DeleteFunctionConcurrency", FunctionName=third)


async def test_many_at_once_never_take_more_than_there_is(control: Control) -> None:
    names = [await versions(control, 1) for _ in range(12)]
    answers = await asyncio.gather(*(put(control, name, "1", 100) for name in names), return_exceptions=True)
    assert sum(isinstance(answer, dict) for answer in answers) == 9
    assert all(isinstance(answer, dict | InvalidParameterValueException) for answer in answers)


async def test_a_version_carries_one_configuration_its_own_or_an_aliass(control: Control) -> None:
    name = await versions(control, 2)
    for alias in ("a", "b"):
        await control("CreateAlias", FunctionName=name, Name=alias, FunctionVersion="1")
    await put(control, name, "a", 1)
    already = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    assert await refused(control, name, "b", 1, ResourceConflictException) == already
    assert (
        await refused(control, name, "1", 1, ResourceConflictException)
        == "Version is pointed by a Provisioned Concurrency alias"
    )
    await put(control, name, "2", 1)
    with pytest.raises(ResourceConflictException) as caught:
        await control("UpdateAlias", FunctionName=name, Name="a", FunctionVersion="2")
    assert caught.value.message == already
    assert (await control("GetAlias", FunctionName=name, Name="a"))["FunctionVersion"] == "1"
    await control("DeleteProvisionedConcurrencyConfig", FunctionName=name, Qualifier="2")
    await control("UpdateAlias", FunctionName=name, Name="a", FunctionVersion="2")
    with pytest.raises(ProvisionedConcurrencyConfigNotFoundException):
        await get(control, name, "2")


async def test_no_alias_of_latest_is_provisioned(control: Control) -> None:
    name = await versions(control, 1)
    await control("CreateAlias", FunctionName=name, Name="newest", FunctionVersion="$LATEST")
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    assert await refused(control, name, "newest", 1, InvalidParameterValueException) == unpublished
    await control("UpdateAlias", FunctionName=name, Name="newest", FunctionVersion="1")
    await put(control, name, "newest", 1)
    with pytest.raises(InvalidParameterValueException):
        await control("UpdateAlias", FunctionName=name, Name="newest", FunctionVersion="$LATEST")


async def test_lists_are_paged_and_name_version_or_alias(control: Control) -> None:
    name = await versions(control, 4)
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="4")
    for qualifier in ("1", "2", "3", "live"):
        await put(control, name, qualifier, 1)
    shown, marker = [], None
    while True:
        more = {"Marker": marker} if marker else {}
        page = await control("ListProvisionedConcurrencyConfigs", FunctionName=name, MaxItems=3, **more)
        shown += [one["FunctionArn"].rpartition(":")[2] for one in page["ProvisionedConcurrencyConfigs"]]
        marker = page.get("NextMarker")
        if marker is None:
            break
    assert shown == ["1", "2", "3", "live"]


async def test_it_goes_with_its_version_its_alias_and_its_function(control: Control) -> None:
    name = await versions(control, 3)
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="2")
    for qualifier in ("1", "live", "3"):
        await put(control, name, qualifier, 1)
    await control("DeleteFunction", FunctionName=name, Qualifier="1")
    await control("DeleteAlias", FunctionName=name, Name="live")
    with pytest.raises(ResourceNotFoundException):
        await get(control, name, "live")
    assert [plan.version for plan in await RegistryPlans(control.settings).load()] == [3]
    await control("DeleteFunction", FunctionName=name)
    assert await RegistryPlans(control.settings).load() == []


async def test_the_scheduler_reads_what_to_start_and_writes_how_far_it_is(control: Control) -> None:
    name = await versions(control, 2)
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    await put(control, name, "live", 4)
    plans = RegistryPlans(control.settings)
    (plan,) = await plans.load()
    assert [(share.target.spec.version, share.count) for share in plan.shares] == [("1", 4)]
    assert plan.held_owner is None
    ready = msgspec.structs.replace(plan.configuration, allocated=4, status=AllocationStatus.READY, held_version=1)
    assert await plans.report(ready)
    shown = await get(control, name, "live")
    assert (shown["Status"], shown["AllocatedProvisionedConcurrentExecutions"]) == ("READY", 4)

    await control("UpdateAlias", FunctionName=name, Name="live", FunctionVersion="2")
    shown = await get(control, name, "live")
    assert (shown["Status"], shown["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 4)
    assert not await plans.report(ready), "it was for the version before"
    assert (await get(control, name, "live"))["Status"] == "IN_PROGRESS"
    (moving,) = await plans.load()
    assert [share.target.spec.version for share in moving.shares] == ["2"]
    assert moving.held_owner == plan.shares[0].owner

    weights = {"AdditionalVersionWeights": {"1": 0.25}}
    await control("UpdateAlias", FunctionName=name, Name="live", RoutingConfig=weights)
    (weighted,) = await plans.load()
    assert [(share.target.spec.version, share.count) for share in weighted.shares] == [("2", 3), ("1", 1)]
    failed = msgspec.structs.replace(weighted.configuration, status=AllocationStatus.FAILED, status_reason="why", allocated=0)
    assert await plans.report(failed)
    assert (await get(control, name, "live"))["StatusReason"] == "why"
    await control("UpdateAlias", FunctionName=name, Name="live", Description="a new description alone")
    assert (await get(control, name, "live"))["Status"] == "FAILED"
    assert (await put(control, name, "live", 4)).get("StatusReason") is None
    await plans.close()


async def test_a_version_whose_package_was_not_seen_yet_is_waited_for(control: Control) -> None:
    name = await versions(control, 1)
    await put(control, name, "1", 1)
    async with control.registry.write() as connection:
        found = await functions.find(connection, control.settings.home, name)
        assert found is not None
        values = {"id": found.function.id}
        await connection.execute(text("UPDATE versions SET state = 'Pending' WHERE function_id = :id AND number = 1"), values)
    plans = RegistryPlans(control.settings)
    assert (await plans.load())[0].shares == ()
    async with control.registry.write() as connection:
        await connection.execute(text("UPDATE versions SET state = 'Active' WHERE function_id = :id AND number = 1"), values)
    assert len((await plans.load())[0].shares) == 1
    async with control.registry.read() as connection:
        assert await provisioned.on_version(connection, found.function.id, 1) == ["1"]
    await plans.close()
