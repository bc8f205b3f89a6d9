"""What the recorded facts do not say: pages, dry runs, announcements."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from services.frontend.apis.lambda_ import package_links
from shared.domain.errors import (
    ApiError,
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from tests.integration.registry.support import OTHER_ZIP, ZIP, Control, function_request


async def all_pages(control: Control, operation: str, key: str, **request: Any) -> list[Any]:
    items, marker = [], None
    while True:
        page = await control(operation, **request, **({"Marker": marker} if marker else {}))
        items += page[key]
        marker = page.get("NextMarker")
        if marker is None:
            return items


async def test_pages_hold_every_function_once_in_the_order_of_names(control: Control) -> None:
    names = [await control.create(f"page-{letter}{number}") for letter in "aBz_" for number in range(15)]
    listed = [one["FunctionName"] for one in await all_pages(control, "ListFunctions", "Functions", MaxItems=7)]
    assert len(listed) == len(set(listed))
    ours = [name for name in listed if name.startswith("page-")]
    assert ours == sorted(names)
    first = await control("ListFunctions", MaxItems=10_000)
    assert len(first["Functions"]) == 50, "AWS never gives more than fifty in a page"


async def test_pages_of_versions_aliases_and_all_versions_are_complete(control: Control) -> None:
    name = await control.create()
    for number in range(4):
        await control("UpdateFunctionConfiguration", FunctionName=name, Description=str(number))
        await control("PublishVersion", FunctionName=name)
        await control("CreateAlias", FunctionName=name, Name=f"a{number}", FunctionVersion="1")
    versions = await all_pages(control, "ListVersionsByFunction", "Versions", FunctionName=name, MaxItems=2)
    assert [one["Version"] for one in versions] == ["$LATEST", "1", "2", "3", "4"]
    aliases = await all_pages(control, "ListAliases", "Aliases", FunctionName=name, MaxItems=1)
    assert [one["Name"] for one in aliases] == ["a0", "a1", "a2", "a3"]
    every = await all_pages(control, "ListFunctions", "Functions", FunctionVersion="ALL", MaxItems=3)
    assert [one["Version"] for one in every if one["FunctionName"] == name] == ["$LATEST", "1", "2", "3", "4"]


async def test_a_dry_run_changes_nothing(control: Control) -> None:
    name = await control.create()
    before = await control("GetFunctionConfiguration", FunctionName=name)
    reply = await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP, DryRun=True)
    assert reply["CodeSha256"] != before["CodeSha256"]
    assert await control("GetFunctionConfiguration", FunctionName=name) == before
    with pytest.raises(PreconditionFailedException):
        await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP, RevisionId="wrong")
    with pytest.raises(PreconditionFailedException):
        await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=5, RevisionId="wrong")
    assert await control("GetFunctionConfiguration", FunctionName=name) == before


async def test_the_code_location_leads_to_the_package(control: Control) -> None:
    name = await control.create()
    location = urlparse((await control("GetFunction", FunctionName=name))["Code"]["Location"])
    sha256 = location.path.removeprefix("/_lambdad/packages/")
    query = parse_qs(location.query)
    assert package_links.verify(control.settings, sha256, query["expires"][0], query["signature"][0])
    assert await control.registry.packages.get(sha256) == ZIP


async def test_reserved_concurrency_shows_in_the_function_and_is_announced(control: Control) -> None:
    name = await control.create()
    await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=5)
    assert (await control("GetFunction", FunctionName=name))["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert control.announcer.functions[-1][2] == 5
    assert control.announcer.unreserved[-1]["us-east-1"] == 995
    await control("DeleteFunctionConcurrency", FunctionName=name)
    assert "Concurrency" not in await control("GetFunction", FunctionName=name)
    assert control.announcer.functions[-1][2] is None
    assert control.announcer.unreserved[-1]["us-east-1"] == 1000


async def test_every_write_announces_a_newer_revision(control: Control) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    writes: list[tuple[str, dict[str, Any]]] = [
        ("UpdateFunctionCode", {"ZipFile": OTHER_ZIP}),
        ("UpdateFunctionConfiguration", {"Timeout": 4}),
        ("PublishVersion", {}),
        ("CreateAlias", {"Name": "live", "FunctionVersion": "1"}),
        ("UpdateAlias", {"Name": "live", "FunctionVersion": "2"}),
        ("DeleteAlias", {"Name": "live"}),
        ("PutFunctionEventInvokeConfig", {"MaximumRetryAttempts": 1}),
        ("UpdateFunctionEventInvokeConfig", {"MaximumRetryAttempts": 0}),
        ("DeleteFunctionEventInvokeConfig", {}),
        ("PutFunctionConcurrency", {"ReservedConcurrentExecutions": 1}),
        ("DeleteFunctionConcurrency", {}),
        ("DeleteFunction", {"Qualifier": "1"}),
        ("DeleteFunction", {}),
    ]
    revision = 0
    for operation, request in writes:
        count = len(control.announcer.functions)
        await control(operation, FunctionName=name, **request)
        assert len(control.announcer.functions) == count + 1, operation
        assert control.announcer.functions[-1][1] > revision, operation
        revision = control.announcer.functions[-1][1]


async def test_an_alias_refuses_versions_that_cannot_be(control: Control) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    cases: list[tuple[type[ApiError], str, str, str, dict[str, float] | None]] = [
        (ResourceConflictException, f"Alias already exists: {arn}:live", "live", "1", None),
        (ResourceNotFoundException, f"Function not found: {arn}:9", "new", "9", None),
        (ResourceNotFoundException, f"Function not found: {arn}:9", "new", "1", {"9": 0.5}),
        (InvalidParameterValueException, "already included in routing configuration", "new", "1", {"1": 0.5}),
        (InvalidParameterValueException, "cannot be greater than 1", "new", "1", {"1": 0.5, "2": 0.1}),
        (InvalidParameterValueException, r"\$LATEST is not supported", "new", "$LATEST", {"1": 0.5}),
    ]
    for kind, message, alias, version, weights in cases:
        routing = {} if weights is None else {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        with pytest.raises(kind, match=message):
            await control("CreateAlias", FunctionName=name, Name=alias, FunctionVersion=version, **routing)
    with pytest.raises(ResourceNotFoundException, match=f"Cannot find alias arn: {arn}:new"):
        await control("GetAlias", FunctionName=name, Name="new")
    with pytest.raises(ResourceConflictException, match=r"the following aliases reference it: \[live\]"):
        await control("DeleteFunction", FunctionName=name, Qualifier="1")


async def test_destinations_are_kept_merged_and_taken_away(control: Control) -> None:
    name = await control.create()
    queue = "arn:aws:sqs:us-east-1:000000000000:done"
    both = {"OnSuccess": {"Destination": queue}, "OnFailure": {"Destination": queue}}
    await control("PutFunctionEventInvokeConfig", FunctionName=name, DestinationConfig=both)
    await control("UpdateFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=1)
    await control("UpdateFunctionEventInvokeConfig", FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": ""}})
    found = await control("GetFunctionEventInvokeConfig", FunctionName=name)
    assert found["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    target = await control.targets.resolve(control.arn(name), None)
    assert (target.event_invoke.on_success_arn, target.event_invoke.on_failure_arn) == (None, queue)
    with pytest.raises(InvalidParameterValueException, match="is invalid"):
        await control(
            "PutFunctionEventInvokeConfig", FunctionName=name, DestinationConfig={"OnFailure": {"Destination": f"{queue}.fifo"}}
        )
    with pytest.raises(InvalidParameterValueException, match="at least one"):
        await control("PutFunctionEventInvokeConfig", FunctionName=name)


BUS = "arn:aws:events:us-east-1:000000000000:event-bus/default"
FUNCTION_ELSEWHERE = "arn:aws:lambda:us-east-1:111111111111:function:f"


@pytest.mark.parametrize(
    ("side", "target", "why"),
    [
        ("OnFailure", FUNCTION_ELSEWHERE, "Only functions of this account and region"),
        ("OnFailure", "arn:aws:lambda:us-east-1:000000000000:layer:l:1", "is invalid."),
        ("OnSuccess", "arn:aws:s3:::bucket", "is invalid."),
        ("OnFailure", "kafka://lambdad.async", "internal to the cluster"),
        ("OnFailure", "kafka://a/b", "is invalid."),
    ],
)
async def test_a_destination_that_nothing_delivers_to_is_refused(control: Control, side: str, target: str, why: str) -> None:
    name = await control.create()
    for operation in ("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"):
        if operation.startswith("Update"):
            await control("PutFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=1)
        with pytest.raises(InvalidParameterValueException, match="The provided destination config") as refused:
            await control(operation, FunctionName=name, DestinationConfig={side: {"Destination": target}})
        assert why in refused.value.message


async def test_the_destinations_of_a_mapping_are_those_that_can_be_delivered_to(control: Control) -> None:
    name = await control.create()
    for target in (BUS, f"{FUNCTION_ELSEWHERE[:-1]}g", "arn:aws:sqs:us-east-1:000000000000:q.fifo"):
        with pytest.raises(InvalidParameterValueException, match="Unsupported DestinationConfig parameter"):
            await control(
                "CreateEventSourceMapping",
                FunctionName=name,
                EventSourceArn="arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/5c1a",
                Topics=["t"],
                StartingPosition="LATEST",
                DestinationConfig={"OnFailure": {"Destination": target}},
            )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Runtime": None}, "Runtime and Handler are mandatory"),
        ({"MemorySize": 10_241}, "less than or equal to 10240"),
        ({"EphemeralStorage": {"Size": 10_241}}, "less than or equal to 10240"),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "DEBUG"}}, "need the LogFormat JSON"),
        ({"PackageType": "Image"}, "a later release"),
        ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, "S3 Error Code: NoSuchBucket"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys"),
        ({"Environment": {"Variables": {"LAMBDAD_NETWORK": "nonne"}}}, "is one of public, none, not nonne"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:lambda:us-east-1:000000000000:function:f"}}, "not a standard SQS queue"),
        ({"FunctionName": "named:1"}, "permitted on Lambda functions only"),
    ],
)
async def test_a_function_that_cannot_be_is_refused_and_not_there(
    control: Control, changed: dict[str, Any], message: str
) -> None:
    request = function_request("refused") | changed
    with pytest.raises(InvalidParameterValueException, match=message):
        await control("CreateFunction", **request)
    with pytest.raises(ResourceNotFoundException):
        await control("GetFunction", FunctionName="refused")


async def test_a_change_during_another_is_refused_until_it_settles(control: Control) -> None:
    control.context.held = True
    await control("CreateFunction", **function_request("slow"))
    with pytest.raises(ResourceConflictException, match="currently in the following state: Pending"):
        await control("UpdateFunctionConfiguration", FunctionName="slow", Timeout=5)
    control.context.held = False
    control.context.settle_later(*control.context.left)
    await control.context.settled(deadline_s=10)
    assert (await control("UpdateFunctionConfiguration", FunctionName="slow", Timeout=5))["Timeout"] == 5


async def test_workers_are_told_of_code_that_can_be_invoked_once_it_can(control: Control) -> None:
    control.context.held = True
    await control("CreateFunction", **function_request("new") | {"MemorySize": 512})
    assert control.announcer.deployments == []
    control.context.held = False
    control.context.settle_later(*control.context.left)
    await control.context.settled(deadline_s=10)
    spec = (await control.targets.resolve(control.arn("new"), None)).spec
    [told] = control.announcer.deployments
    assert (told.runtime, told.architecture, told.memory_mb) == (spec.runtime, spec.architecture, 512)
    assert (told.code_sha256, told.code_size_bytes, told.layers) == (spec.code_sha256, spec.code_size_bytes, spec.layers)


async def test_writes_say_which_environments_nobody_invokes_any_more(control: Control) -> None:
    """The version key that an invocation had before is covered, the one it has now is not, nor is any other version's."""
    name = await control.create()
    await control("PublishVersion", FunctionName=name)

    async def keys() -> list[str]:
        return [(await control.targets.resolve(control.arn(name), qualifier)).spec.version_key for qualifier in (None, "1")]

    for operation, request in (("UpdateFunctionCode", {"ZipFile": OTHER_ZIP}), ("UpdateFunctionConfiguration", {"Timeout": 4})):
        latest, one = await keys()
        await control(operation, FunctionName=name, **request)
        retirement = control.announcer.retirements[-1]
        assert [retirement.covers(key) for key in (latest, one, *await keys())] == [True, False, False, False]
    latest, one = await keys()
    await control("DeleteFunction", FunctionName=name, Qualifier="1")
    assert [control.announcer.retirements[-1].covers(key) for key in (latest, one)] == [False, True]
    before = len(control.announcer.retirements)
    await control("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=1)
    assert len(control.announcer.retirements) == before
    await control("DeleteFunction", FunctionName=name)
    assert all(control.announcer.retirements[-1].covers(key) for key in (latest, one))
