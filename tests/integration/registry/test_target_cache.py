from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from shared.domain.errors import ResourceConflictException, ResourceNotFoundException
from shared.registry import functions
from shared.registry.cache import LOADS, TargetCache
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.integration.registry.support import OTHER_ZIP, Control, function_request
from tests.support import PATIENCE_S, zip_of


def loads() -> float:
    return LOADS._value.get()  # type: ignore[no-any-return]


async def test_a_target_says_all_that_an_invocation_needs(control: Control) -> None:
    name = await control.create(
        Timeout=7,
        MemorySize=512,
        Environment={"Variables": {"A": "b"}},
        DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"},
    )
    await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=3)
    await control("PutFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=0)
    target = await control.targets.resolve(control.arn(name), None)
    assert target.state == "Active"
    assert target.reserved_concurrency == 3
    assert target.invoked_arn == target.spec.function_arn == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert (target.spec.timeout_s, target.spec.memory_mb, target.spec.environment) == (7, 512, {"A": "b"})
    assert (target.event_invoke.retry_attempts_max, target.event_invoke.dead_letter_arn) == (
        0,
        "arn:aws:sqs:us-east-1:000000000000:q",
    )
    assert target.spec.version_key.startswith(f"{target.spec.function_id}:$LATEST:")


async def test_a_second_frontend_sees_a_change_once_it_forgets(control: Control, registry: Registry) -> None:
    name = await control.create()
    other = TargetCache(registry, control.settings)
    before = await other.resolve(control.arn(name), None)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    own = await control.targets.resolve(control.arn(name), None)
    assert own.revision > before.revision, "the frontend that made the change sees it without being told"
    assert (await other.resolve(control.arn(name), None)).revision == before.revision
    other.forget(control.arn(name))
    after = await other.resolve(control.arn(name), None)
    assert after == own
    assert after.spec.version_key != before.spec.version_key
    assert control.announcer.functions[-1] == (after.spec.counted_as, after.revision, None)


async def test_what_is_cached_is_read_again_after_its_time_to_live(control: Control, registry: Registry) -> None:
    settings = control.settings.model_copy(deep=True)
    settings.registry.cache_ttl_s = 0.05
    cache = TargetCache(registry, settings)
    name = await control.create()
    before = await cache.resolve(control.arn(name), None)
    await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=9)
    async with asyncio.timeout(PATIENCE_S):
        while (await cache.resolve(control.arn(name), None)).revision == before.revision:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_misses_of_one_target_share_one_read(control: Control, registry: Registry) -> None:
    name = await control.create()
    cache = TargetCache(registry, control.settings)
    before = loads()
    targets = await asyncio.gather(*(cache.resolve(control.arn(name), None) for _ in range(50)))
    assert len({target.revision for target in targets}) == 1
    assert loads() - before == 1


async def test_a_read_that_began_before_a_change_does_not_answer_after_it(control: Control) -> None:
    name = await control.create()
    control.targets.forget(control.arn(name))
    early = asyncio.create_task(control.targets.resolve(control.arn(name), None))
    await asyncio.sleep(0)
    await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=11)
    assert (await control.targets.resolve(control.arn(name), None)).spec.timeout_s == 11
    await early
    assert (await control.targets.resolve(control.arn(name), None)).spec.timeout_s == 11


async def test_what_does_not_exist_is_said_in_awss_words_and_not_remembered(control: Control) -> None:
    name = await control.create()
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    for missing, qualifier, named in (
        (f"{name}x", None, f"{arn}x:$LATEST"),
        (name, "7", f"{arn}:7"),
        (name, "no", f"{arn}:no"),
    ):
        with pytest.raises(ResourceNotFoundException, match="Function not found") as refused:
            await control.targets.resolve(control.arn(missing), qualifier)
        assert refused.value.message == f"Function not found: {named}"
    await control("PublishVersion", FunctionName=name)
    await control("CreateAlias", FunctionName=name, Name="no", FunctionVersion="1")
    assert (await control.targets.resolve(control.arn(name), "no")).executed_version == "1"
    for hostile in ("9" * 500, "٣", ""):
        with pytest.raises(ResourceNotFoundException):
            await control.targets.resolve(control.arn(name), hostile)


async def test_a_deleted_and_recreated_function_is_another(control: Control) -> None:
    name = await control.create()
    before = await control.targets.resolve(control.arn(name), None)
    await control("DeleteFunction", FunctionName=name)
    with pytest.raises(ResourceNotFoundException):
        await control.targets.resolve(control.arn(name), None)
    await control.create(name)
    after = await control.targets.resolve(control.arn(name), None)
    assert after.spec.function_id != before.spec.function_id
    assert after.revision > before.revision
    deleted = [revision for function, revision, _ in control.announcer.functions if function == before.spec.counted_as]
    assert deleted[-1] > before.revision


async def test_a_weighted_alias_gives_each_version_its_share(control: Control) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP, Publish=True)
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=weights)
    drawn = Counter([(await control.targets.resolve(control.arn(name), "live")).executed_version for _ in range(4_000)])
    assert set(drawn) == {"1", "2"}
    assert 800 < drawn["2"] < 1_200
    target = await control.targets.resolve(control.arn(name), "live")
    assert target.invoked_arn.endswith(f":{name}:live")
    assert target.qualifier == "live"
    await control("UpdateAlias", FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert {(await control.targets.resolve(control.arn(name), "live")).executed_version for _ in range(50)} == {"1"}


async def test_the_cache_keeps_no_more_functions_than_it_may(control: Control, registry: Registry) -> None:
    settings = control.settings.model_copy(deep=True)
    settings.registry.cache_entries_max = 2
    cache = TargetCache(registry, settings)
    for _ in range(4):
        await cache.resolve(control.arn(await control.create()), None)
    assert len(cache._entries) == 2


async def test_an_invocation_right_after_a_frontend_died_settles_what_it_left(control: Control) -> None:
    control.context.held = True
    reply = await control("CreateFunction", **function_request("left-behind"))
    assert reply["State"] == "Pending"
    assert (await control.targets.resolve(control.arn("left-behind"), None)).state == "Active"


async def test_the_same_name_in_two_regions_is_two_functions(control: Control) -> None:
    name = await control.create()
    elsewhere = control.at("eu-west-1")
    await elsewhere.create(name, Timeout=44)
    here, there = control.arn(name), elsewhere.arn(name)
    found = [await control.targets.resolve(arn, None) for arn in (here, there)]
    assert [target.spec.function_arn for target in found] == [here, there]
    assert [target.spec.region for target in found] == ["us-east-1", "eu-west-1"]
    assert [target.spec.timeout_s for target in found] == [3, 44]
    assert found[0].spec.function_id != found[1].spec.function_id
    # A change of the one is none of the other.
    await elsewhere("UpdateFunctionConfiguration", FunctionName=name, Timeout=45)
    assert control.targets.cached(here, None) is found[0]
    assert (await control.targets.resolve(there, None)).spec.timeout_s == 45
    await elsewhere("DeleteFunction", FunctionName=name)
    assert (await control.targets.resolve(here, None)).spec.timeout_s == 3
    with pytest.raises(ResourceNotFoundException) as caught:
        await control.targets.resolve(there, None)
    assert str(caught.value) == f"Function not found: {there}:$LATEST"


async def test_a_starting_frontend_settles_what_another_left(control: Control, registry: Registry) -> None:
    control.context.held = True
    name = await control.create()
    assert await registry.settler.settle_all(older_than_ms=0) >= 1
    async with registry.read() as connection:
        found = await functions.find(connection, control.settings.home, name)
    assert found is not None
    assert found.version.status.settled


async def test_a_function_whose_package_is_gone_fails_and_says_why(control: Control, registry_settings: Settings) -> None:
    control.context.held = True
    name = await control.create(Code={"ZipFile": zip_of({"index.py": "only_here = True"})})
    async with control.registry.read() as connection:
        found = await functions.find(connection, control.settings.home, name)
    assert found is not None
    sha256 = found.version.code_sha256
    (registry_settings.data_dir / "packages" / sha256[:2] / f"{sha256}.zip").unlink()
    with pytest.raises(ResourceConflictException, match="Failed"):
        await control.targets.resolve(control.arn(name), None)
    configuration = await control("GetFunctionConfiguration", FunctionName=name)
    assert (configuration["State"], configuration["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
    with pytest.raises(ResourceConflictException, match="Failed"):
        await control("PublishVersion", FunctionName=name)
    control.context.held = False
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    assert (await control.targets.resolve(control.arn(name), None)).state == "Active"
