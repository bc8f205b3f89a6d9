"""Two regions of one cluster: the same names in both, and nothing of the one in the other."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.provisioned.plans import RegistryPlans
from shared.domain.errors import (
    CodeSigningConfigNotFoundException,
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from tests.integration.registry.support import OTHER_ZIP, ZIP, Control, function_request

ACCOUNT, HERE, THERE = "000000000000", "us-east-1", "eu-west-1"
PUBLISHER = f"arn:aws:signer:{HERE}:{ACCOUNT}:/signing-profiles/mine/1234567890"


@pytest.fixture
def there(control: Control) -> Control:
    return control.at(THERE)


@pytest.fixture
async def name(control: Control, there: Control) -> str:
    """A function of this name in both regions."""
    return await there.create(await control.create(), Code={"ZipFile": OTHER_ZIP}, Timeout=44)


async def names(control: Control, **request: Any) -> list[str]:
    reply = await control("ListFunctions", MaxItems=10_000, **request)
    return [one["FunctionName"] for one in reply["Functions"]]


async def test_a_name_is_taken_in_its_region_alone(control: Control, there: Control, name: str) -> None:
    here, elsewhere = [(await one("GetFunction", FunctionName=name))["Configuration"] for one in (control, there)]
    assert here["FunctionArn"] == f"arn:aws:lambda:{HERE}:{ACCOUNT}:function:{name}"
    assert elsewhere["FunctionArn"] == f"arn:aws:lambda:{THERE}:{ACCOUNT}:function:{name}"
    assert here["CodeSha256"] != elsewhere["CodeSha256"]
    assert (here["Timeout"], elsewhere["Timeout"]) == (3, 44)
    with pytest.raises(ResourceConflictException):
        await there("CreateFunction", **function_request(name))


async def test_lists_are_of_one_region(control: Control, there: Control, name: str) -> None:
    alone = await there.create()
    assert {name, alone} <= set(await names(there))
    assert name in await names(control)
    assert alone not in await names(control)
    pages = await there("ListFunctions", MaxItems=1)
    assert len(pages["Functions"]) == 1
    rest = await there("ListFunctions", Marker=pages["NextMarker"])
    versions = await there("ListFunctions", FunctionVersion="ALL")
    shown = [*pages["Functions"], *rest["Functions"], *versions["Functions"]]
    assert all(f":{THERE}:" in one["FunctionArn"] for one in shown)


async def test_deleting_the_one_leaves_the_other(control: Control, there: Control, name: str) -> None:
    await there("DeleteFunction", FunctionName=name)
    assert (await control("GetFunction", FunctionName=name))["Configuration"]["Timeout"] == 3
    with pytest.raises(ResourceNotFoundException) as caught:
        await there("GetFunction", FunctionName=name)
    assert str(caught.value) == f"Function not found: arn:aws:lambda:{THERE}:{ACCOUNT}:function:{name}"


@pytest.mark.parametrize(
    "operation",
    ["GetFunction", "GetFunctionConfiguration", "GetPolicy", "DeleteFunction", "ListVersionsByFunction", "ListAliases"],
)
async def test_an_arn_of_another_region_is_out_of_reach(there: Control, name: str, operation: str) -> None:
    with pytest.raises(ResourceNotFoundException) as caught:
        await there(operation, FunctionName=f"arn:aws:lambda:{HERE}:{ACCOUNT}:function:{name}")
    assert str(caught.value) == f"Functions from '{HERE}' are not reachable in this region ('{THERE}')"


async def test_versions_aliases_policies_and_settings_are_their_regions(control: Control, there: Control, name: str) -> None:
    await there("PublishVersion", FunctionName=name)
    await there("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    await there("AddPermission", FunctionName=name, **permission)
    await there("PutFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=1)
    await there("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=7)
    policy = (await there("GetPolicy", FunctionName=name))["Policy"]
    assert f"arn:aws:lambda:{THERE}:{ACCOUNT}:function:{name}" in policy
    alias = await there("GetAlias", FunctionName=name, Name="live")
    assert alias["AliasArn"] == f"arn:aws:lambda:{THERE}:{ACCOUNT}:function:{name}:live"
    for operation, request in (
        ("GetAlias", {"Name": "live"}),
        ("GetPolicy", {}),
        ("GetFunctionEventInvokeConfig", {}),
        ("GetFunctionConfiguration", {"Qualifier": "1"}),
    ):
        with pytest.raises(ResourceNotFoundException):
            await control(operation, FunctionName=name, **request)
    assert await control("GetFunctionConcurrency", FunctionName=name) == {}
    assert len((await control("ListVersionsByFunction", FunctionName=name))["Versions"]) == 1


async def test_an_account_has_its_limits_and_its_use_in_each_region(control: Control, there: Control, name: str) -> None:
    before = [await one("GetAccountSettings") for one in (control, there)]
    await there("PutFunctionConcurrency", FunctionName=name, ReservedConcurrentExecutions=300)
    assert control.announcer.unreserved[-1][THERE] == before[1]["AccountLimit"]["UnreservedConcurrentExecutions"] - 300
    assert control.announcer.unreserved[-1][HERE] == before[0]["AccountLimit"]["UnreservedConcurrentExecutions"]
    await there.create()
    await there("PublishLayerVersion", LayerName="counted", Content={"ZipFile": ZIP})
    after = [await one("GetAccountSettings") for one in (control, there)]
    assert after[0] == before[0]
    assert after[1]["AccountUsage"]["FunctionCount"] == before[1]["AccountUsage"]["FunctionCount"] + 1
    assert after[1]["AccountUsage"]["TotalCodeSize"] == before[1]["AccountUsage"]["TotalCodeSize"] + 2 * len(ZIP)
    # What one region reserves takes nothing of another's.
    own = await control.create()
    free = after[0]["AccountLimit"]["UnreservedConcurrentExecutions"] - 100
    await control("PutFunctionConcurrency", FunctionName=own, ReservedConcurrentExecutions=free)
    with pytest.raises(InvalidParameterValueException):
        await control("PutFunctionConcurrency", FunctionName=own, ReservedConcurrentExecutions=free + 1)
    await control("DeleteFunction", FunctionName=own)


async def test_layers_are_numbered_and_attached_in_their_region(control: Control, there: Control, name: str) -> None:
    for one, times in ((control, 2), (there, 1)):
        for _ in range(times):
            made = await one("PublishLayerVersion", LayerName="both", Content={"ZipFile": ZIP})
    assert made["LayerVersionArn"] == f"arn:aws:lambda:{THERE}:{ACCOUNT}:layer:both:1"
    assert [len((await one("ListLayerVersions", LayerName="both"))["LayerVersions"]) for one in (control, there)] == [2, 1]
    assert "both" in [one["LayerName"] for one in (await there("ListLayers"))["Layers"]]
    with pytest.raises(InvalidParameterValueException) as caught:
        await control("UpdateFunctionConfiguration", FunctionName=name, Layers=[made["LayerVersionArn"]])
    assert str(caught.value) == (
        f"Layers are not in the same region as the function. Layers are expected to be in region {HERE}."
    )
    with pytest.raises(ResourceNotFoundException) as missing:
        await control("GetLayerVersionByArn", Arn=made["LayerVersionArn"])
    assert str(missing.value) == f"Layers from '{THERE}' are not reachable in this region ('{HERE}')"
    for version in ((await there("GetLayerVersionByArn", Arn=made["LayerVersionArn"])), made):
        assert version["LayerArn"] == f"arn:aws:lambda:{THERE}:{ACCOUNT}:layer:both"
    await there("UpdateFunctionConfiguration", FunctionName=name, Layers=[made["LayerVersionArn"]])
    [layer] = (await there.targets.resolve(there.arn(name), None)).spec.layers
    assert layer.arn == made["LayerVersionArn"]
    permission = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    await there("AddLayerVersionPermission", LayerName="both", VersionNumber=1, **permission)
    with pytest.raises(ResourceNotFoundException):
        await control("GetLayerVersionPolicy", LayerName="both", VersionNumber=1)
    await there("DeleteLayerVersion", LayerName="both", VersionNumber=1)
    assert (await control("GetLayerVersion", LayerName="both", VersionNumber=1))["Version"] == 1


async def test_mappings_are_their_regions(control: Control, there: Control, name: str) -> None:
    made = await there(
        "CreateEventSourceMapping",
        FunctionName=name,
        EventSourceArn=f"arn:aws:kafka:{THERE}:{ACCOUNT}:cluster/lambdad/00000000-0000-0000-0000-000000000000-1",
        Topics=["t"],
        StartingPosition="LATEST",
    )
    assert made["FunctionArn"] == f"arn:aws:lambda:{THERE}:{ACCOUNT}:function:{name}"
    assert made["EventSourceMappingArn"] == f"arn:aws:lambda:{THERE}:{ACCOUNT}:event-source-mapping:{made['UUID']}"
    assert made["UUID"] in [one["UUID"] for one in (await there("ListEventSourceMappings"))["EventSourceMappings"]]
    assert made["UUID"] not in [one["UUID"] for one in (await control("ListEventSourceMappings"))["EventSourceMappings"]]
    for operation in ("GetEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"):
        with pytest.raises(ResourceNotFoundException):
            await control(operation, UUID=made["UUID"])
    await there("TagResource", Resource=made["EventSourceMappingArn"], Tags={"a": "b"})
    assert (await there("ListTags", Resource=made["EventSourceMappingArn"]))["Tags"] == {"a": "b"}
    with pytest.raises(ResourceNotFoundException):
        await control("ListTags", Resource=made["EventSourceMappingArn"])


async def test_code_signing_configurations_are_their_regions(control: Control, there: Control, name: str) -> None:
    publishers = {"SigningProfileVersionArns": [PUBLISHER]}
    made = (await there("CreateCodeSigningConfig", AllowedPublishers=publishers))["CodeSigningConfig"]
    arn = made["CodeSigningConfigArn"]
    assert arn.startswith(f"arn:aws:lambda:{THERE}:")
    assert arn in [one["CodeSigningConfigArn"] for one in (await there("ListCodeSigningConfigs"))["CodeSigningConfigs"]]
    assert arn not in [one["CodeSigningConfigArn"] for one in (await control("ListCodeSigningConfigs"))["CodeSigningConfigs"]]
    with pytest.raises(ResourceNotFoundException):
        await control("GetCodeSigningConfig", CodeSigningConfigArn=arn)
    with pytest.raises(CodeSigningConfigNotFoundException):
        await control("PutFunctionCodeSigningConfig", FunctionName=name, CodeSigningConfigArn=arn)
    await there("PutFunctionCodeSigningConfig", FunctionName=name, CodeSigningConfigArn=arn)
    users = await there("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn)
    assert users["FunctionArns"] == [f"arn:aws:lambda:{THERE}:{ACCOUNT}:function:{name}"]


async def test_provisioned_concurrency_stands_in_its_region(control: Control, there: Control, name: str) -> None:
    for one in (control, there):
        await one("PublishVersion", FunctionName=name)
    await there("PutProvisionedConcurrencyConfig", FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2)
    plans = RegistryPlans(there.settings)
    shares = [share for plan in await plans.load() for share in plan.shares if share.target.spec.function_name == name]
    await plans.close()
    assert [(share.target.spec.region, share.target.spec.timeout_s, share.count) for share in shares] == [(THERE, 44, 2)]
    assert shares[0].owner.startswith(f"{THERE}/"), "and is counted there"
    with pytest.raises(ProvisionedConcurrencyConfigNotFoundException):
        await control("GetProvisionedConcurrencyConfig", FunctionName=name, Qualifier="1")
    await there("DeleteProvisionedConcurrencyConfig", FunctionName=name, Qualifier="1")


async def test_a_url_is_named_after_its_region(control: Control, there: Control, name: str) -> None:
    urls = [
        (await one("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE"))["FunctionUrl"] for one in (control, there)
    ]
    assert [url.split(".lambda-url.")[1].partition(".")[0] for url in urls] == [HERE, THERE]
    assert urls[0] != urls[1]
    await there("DeleteFunctionUrlConfig", FunctionName=name)
    assert (await control("GetFunctionUrlConfig", FunctionName=name))["FunctionUrl"] == urls[0]


async def test_a_function_of_another_region_is_no_destination(control: Control, there: Control, name: str) -> None:
    success = {"OnSuccess": {"Destination": control.arn(await there.create(await control.create()))}}
    with pytest.raises(InvalidParameterValueException):
        await there("PutFunctionEventInvokeConfig", FunctionName=name, DestinationConfig=success)
    await control("PutFunctionEventInvokeConfig", FunctionName=name, DestinationConfig=success)
