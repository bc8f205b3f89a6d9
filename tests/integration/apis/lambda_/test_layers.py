"""Layers, and functions that have them, at the handlers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import uuid
from typing import Any

import pytest

from services.frontend.apis.lambda_ import layer_attachment
from shared.domain.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceNotFoundException,
)
from tests.integration.registry.support import OTHER_ZIP, Control
from tests.support import zip_of

ARN = "arn:aws:lambda:us-east-1:000000000000:layer:"
LAYER = zip_of({"python/shared_code.py": "VALUE = 1\n"})


def unique(prefix: str = "layer") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


async def publish(control: Control, name: str, content: bytes = LAYER, **more: Any) -> dict[str, Any]:
    return await control("PublishLayerVersion", LayerName=name, Content={"ZipFile": content}, **more)


async def test_a_published_version_is_read_by_name_by_the_layers_arn_and_by_its_own(control: Control) -> None:
    name = unique()
    made = await publish(
        control, name, Description="d", LicenseInfo="MIT", CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["arm64"]
    )
    assert made["LayerArn"] == ARN + name
    assert made["LayerVersionArn"] == f"{ARN}{name}:1"
    assert made["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(LAYER).digest()).decode()
    assert made["Content"]["CodeSize"] == len(LAYER)
    reads = [
        await control("GetLayerVersion", LayerName=name, VersionNumber=1),
        await control("GetLayerVersion", LayerName=ARN + name, VersionNumber=1),
        await control("GetLayerVersionByArn", Arn=f"{ARN}{name}:1"),
    ]
    for read in reads:
        assert {**read, "Content": None} == {**made, "Content": None}
        assert read["Content"]["CodeSha256"] == made["Content"]["CodeSha256"]


async def test_numbers_are_never_given_again_and_concurrent_publishers_get_one_each(control: Control) -> None:
    name = unique()
    made = await asyncio.gather(*(publish(control, name) for _ in range(8)))
    assert sorted(one["Version"] for one in made) == list(range(1, 9))
    for number in range(1, 9):
        assert await control("DeleteLayerVersion", LayerName=name, VersionNumber=number) == {}
    assert (await control("ListLayerVersions", LayerName=name))["LayerVersions"] == []
    assert (await publish(control, name))["Version"] == 9


async def test_lists_show_what_is_compatible_and_page_through_all_of_it(control: Control) -> None:
    name, other = unique("a-list"), unique("b-list")
    await publish(control, name, CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"])
    await publish(control, name, CompatibleRuntimes=["nodejs22.x"], CompatibleArchitectures=["arm64"])
    await publish(control, other)

    async def layers(**filters: str) -> dict[str, int]:
        found: dict[str, int] = {}
        marker: dict[str, str] = {}
        while True:
            page = await control("ListLayers", MaxItems=1, **filters, **marker)
            found |= {one["LayerName"]: one["LatestMatchingVersion"]["Version"] for one in page["Layers"]}
            if "NextMarker" not in page:
                return {key: value for key, value in found.items() if key in (name, other)}
            marker = {"Marker": page["NextMarker"]}

    assert await layers() == {name: 2, other: 1}
    assert await layers(CompatibleRuntime="python3.12") == {name: 1}
    assert await layers(CompatibleArchitecture="arm64") == {name: 2}
    assert await layers(CompatibleRuntime="python3.12", CompatibleArchitecture="arm64") == {}

    first = await control("ListLayerVersions", LayerName=name, MaxItems=1)
    assert [one["Version"] for one in first["LayerVersions"]] == [2]
    second = await control("ListLayerVersions", LayerName=ARN + name, MaxItems=1, Marker=first["NextMarker"])
    assert [one["Version"] for one in second["LayerVersions"]] == [1]
    assert "NextMarker" not in second
    only = await control("ListLayerVersions", LayerName=name, CompatibleRuntime="python3.12")
    assert [one["LayerVersionArn"] for one in only["LayerVersions"]] == [f"{ARN}{name}:1"]


async def test_layers_of_other_accounts_and_regions_are_out_of_reach(control: Control) -> None:
    foreign = "arn:aws:lambda:us-east-1:123456789012:layer:theirs"
    with pytest.raises(AccessDeniedException):
        await control("GetLayerVersion", LayerName=foreign, VersionNumber=1)
    with pytest.raises(AccessDeniedException, match="not authorized to perform: lambda:GetLayerVersion on resource"):
        await control("GetLayerVersionByArn", Arn=f"{foreign}:1")
    with pytest.raises(AccessDeniedException, match="theirs:1"):
        await control.create(Layers=[f"{foreign}:1"])
    with pytest.raises(ResourceNotFoundException):
        await control("ListLayerVersions", LayerName="arn:aws:lambda:eu-west-1:000000000000:layer:far")


@pytest.mark.parametrize("number", [2**63, 10**30])
async def test_a_number_beyond_all_numbers_is_no_version(control: Control, number: int) -> None:
    name = unique()
    await publish(control, name)
    for operation in ("GetLayerVersion", "GetLayerVersionPolicy"):
        with pytest.raises(ResourceNotFoundException):
            await control(operation, LayerName=name, VersionNumber=number)
    assert await control("DeleteLayerVersion", LayerName=name, VersionNumber=number) == {}
    with pytest.raises(ResourceNotFoundException):
        await control("RemoveLayerVersionPermission", LayerName=name, VersionNumber=number, StatementId="s")
    with pytest.raises(InvalidParameterValueException, match="does not exist"):
        await control.create(Layers=[f"{ARN}{name}:{number}"])


async def test_a_policy_keeps_its_order_and_its_revision_guards_it(control: Control) -> None:
    name = unique()
    await publish(control, name)
    grant = {"LayerName": name, "VersionNumber": 1, "Action": "lambda:GetLayerVersion"}
    with pytest.raises(PreconditionFailedException):
        await control("AddLayerVersionPermission", **grant, StatementId="a", Principal="*", RevisionId="none yet")
    first = await control("AddLayerVersionPermission", **grant, StatementId="a", Principal="*", OrganizationId="o-0123456789")
    second = await control(
        "AddLayerVersionPermission", **grant, StatementId="b", Principal="123456789012", RevisionId=first["RevisionId"]
    )
    policy = await control("GetLayerVersionPolicy", LayerName=name, VersionNumber=1)
    assert policy["RevisionId"] == second["RevisionId"] != first["RevisionId"]
    statements = json.loads(policy["Policy"])["Statement"]
    assert [one["Sid"] for one in statements] == ["a", "b"]
    assert statements[0]["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}
    assert statements[1]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    for sid in ("a", "b"):
        await control("RemoveLayerVersionPermission", LayerName=name, VersionNumber=1, StatementId=sid)
    with pytest.raises(ResourceNotFoundException, match="No policy is associated"):
        await control("GetLayerVersionPolicy", LayerName=name, VersionNumber=1)


async def test_writers_of_one_policy_lose_none_of_its_statements(control: Control) -> None:
    name = unique()
    await publish(control, name)
    grant = {"LayerName": name, "VersionNumber": 1, "Action": "lambda:GetLayerVersion", "Principal": "*"}
    await asyncio.gather(*(control("AddLayerVersionPermission", **grant, StatementId=f"s{n}") for n in range(8)))
    policy = json.loads((await control("GetLayerVersionPolicy", LayerName=name, VersionNumber=1))["Policy"])
    assert {one["Sid"] for one in policy["Statement"]} == {f"s{n}" for n in range(8)}


async def test_a_function_shows_its_layers_in_their_order_and_a_version_keeps_them(control: Control) -> None:
    first, second = unique("z"), unique("a")
    arns = [(await publish(control, name))["LayerVersionArn"] for name in (first, second)]
    name = await control.create(Layers=arns)
    shown = [{"Arn": arn, "CodeSize": len(LAYER)} for arn in arns]
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Layers"] == shown
    await control("PublishVersion", FunctionName=name)
    await control("UpdateFunctionConfiguration", FunctionName=name, Description="keeps them")
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Layers"] == shown
    await control("UpdateFunctionConfiguration", FunctionName=name, Layers=arns[1:])
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Layers"] == shown[1:]
    await control("UpdateFunctionConfiguration", FunctionName=name, Layers=[])
    assert "Layers" not in await control("GetFunctionConfiguration", FunctionName=name)
    assert (await control("GetFunctionConfiguration", FunctionName=name, Qualifier="1"))["Layers"] == shown
    target = await control.targets.resolve(control.arn(name), "1")
    assert [(layer.arn, layer.sha256) for layer in target.spec.layers] == [
        (arn, hashlib.sha256(LAYER).hexdigest()) for arn in arns
    ]


async def test_a_deleted_layer_stays_with_the_functions_that_have_it_and_goes_to_no_other(control: Control) -> None:
    arn = (await publish(control, layer := unique()))["LayerVersionArn"]
    name = await control.create(Layers=[arn])
    await control("DeleteLayerVersion", LayerName=layer, VersionNumber=1)
    await control("UpdateFunctionConfiguration", FunctionName=name, Timeout=9)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    shown = await control("GetFunctionConfiguration", FunctionName=name)
    assert (shown["State"], shown["LastUpdateStatus"], shown["Layers"][0]["Arn"]) == ("Active", "Successful", arn)
    with pytest.raises(InvalidParameterValueException, match=f"Layer version {arn} does not exist."):
        await control("UpdateFunctionConfiguration", FunctionName=name, Layers=[arn])
    with pytest.raises(InvalidParameterValueException, match="does not exist"):
        await control.create(Layers=[arn])


async def test_a_layer_that_is_taken_while_it_is_deleted_is_either_there_or_refused(control: Control) -> None:
    async def take(arn: str) -> bool:
        try:
            name = await control.create(Layers=[arn])
        except InvalidParameterValueException:
            return False
        return (await control("GetFunctionConfiguration", FunctionName=name))["Layers"][0]["Arn"] == arn

    for _ in range(5):
        arn = (await publish(control, layer := unique()))["LayerVersionArn"]
        taken = asyncio.gather(*(take(arn) for _ in range(4)))
        await control("DeleteLayerVersion", LayerName=layer, VersionNumber=1)
        await taken
        assert not await take(arn)


async def test_a_publish_that_only_changes_layers_is_a_new_version(control: Control) -> None:
    arn = (await publish(control, unique()))["LayerVersionArn"]
    name = await control.create()
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "1"
    await control("UpdateFunctionConfiguration", FunctionName=name, Layers=[arn])
    assert (await control("PublishVersion", FunctionName=name))["Version"] == "2"


async def test_code_and_layers_together_stay_under_the_limit(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_attachment, "UNZIPPED_BYTES_MAX", 2_000)
    one = (await publish(control, unique(), zip_of({"x": bytes(1_200)})))["LayerVersionArn"]
    two = (await publish(control, unique(), zip_of({"y": bytes(1_201)})))["LayerVersionArn"]
    with pytest.raises(InvalidParameterValueException, match="Layers consume more than the available size of 2000 bytes"):
        await control.create(Layers=[one, two])
    small, large = zip_of({"index.py": bytes(700)}), zip_of({"index.py": bytes(800)})
    with pytest.raises(InvalidParameterValueException, match=r"exceeds the maximum allowed size.*actual size is 2000 bytes"):
        await control.create(Layers=[one], Code={"ZipFile": large})
    name = await control.create(Layers=[one], Code={"ZipFile": small})
    for dry_run in (True, False):
        with pytest.raises(InvalidParameterValueException, match="actual size is 2000 bytes"):
            await control("UpdateFunctionCode", FunctionName=name, ZipFile=large, DryRun=dry_run)
    plain = await control.create(Code={"ZipFile": large})
    with pytest.raises(InvalidParameterValueException, match="actual size is 2000 bytes"):
        await control("UpdateFunctionConfiguration", FunctionName=plain, Layers=[one])


async def test_layers_together_have_a_bound_on_their_files(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_attachment, "ENTRIES_MAX", 5)
    one = (await publish(control, unique(), zip_of({"a/x": "1", "a/y": "1"})))["LayerVersionArn"]
    same = (await publish(control, unique(), zip_of({"a/x": "1", "a/y": "1"})))["LayerVersionArn"]
    two = (await publish(control, unique(), zip_of({"z": "1", "y": "1"})))["LayerVersionArn"]
    for layers in ([one, same], [one, two, same]):
        with pytest.raises(InvalidParameterValueException, match="Layers consume more than the available number of 5 files"):
            await control.create(Layers=layers)
    name = await control.create(Layers=[one, two])
    with pytest.raises(InvalidParameterValueException, match="5 files"):
        await control("UpdateFunctionConfiguration", FunctionName=name, Layers=[one, same])


async def test_an_unusable_zip_is_no_layer(control: Control) -> None:
    with pytest.raises(InvalidParameterValueException, match="Could not unzip"):
        await publish(control, unique(), b"no zip")
    with pytest.raises(InvalidParameterValueException, match="non-empty"):
        await publish(control, unique(), b"")
    with pytest.raises(InvalidParameterValueException, match="provide a source"):
        await control("PublishLayerVersion", LayerName=unique(), Content={})


async def test_every_layer_version_counts_for_the_account(control: Control) -> None:
    before = (await control("GetAccountSettings"))["AccountUsage"]["TotalCodeSize"]
    name = unique()
    for expected in (1, 2):
        await publish(control, name)
        assert (await control("GetAccountSettings"))["AccountUsage"]["TotalCodeSize"] == before + expected * len(LAYER)
    await control("DeleteLayerVersion", LayerName=name, VersionNumber=1)
    assert (await control("GetAccountSettings"))["AccountUsage"]["TotalCodeSize"] == before + len(LAYER)
