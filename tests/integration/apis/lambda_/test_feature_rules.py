"""Settings of functions that contradict each other or that this engine has nothing for, and those that are kept as sent."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.errors import InvalidParameterValueException, ResourceNotFoundException
from tests.integration.registry.support import ZIP, Control

EFS = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
SNAP_START: dict[str, Any] = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
PROVIDER = "arn:aws:lambda:us-east-1:000000000000:capacity-provider:p"
CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "SubnetIds and SecurityIds must coexist or be both empty list."),
    ({"VpcConfig": {"SecurityGroupIds": ["sg-1"]}}, "SubnetIds and SecurityIds must coexist or be both empty list."),
    (
        {"FileSystemConfigs": [{"Arn": EFS, "LocalMountPath": "/mnt/efs"}]},
        f"Function must be configured to execute in a VPC to reference access point {EFS}.",
    ),
    ({**SNAP_START, "Runtime": "nodejs22.x"}, "nodejs22.x is not supported for SnapStart enabled functions."),
    ({**SNAP_START, "Runtime": "python3.11"}, "python3.11 is not supported for SnapStart enabled functions."),
    (
        {**SNAP_START, "EphemeralStorage": {"Size": 513}},
        "EphemeralStorage of more than 512 MB is not supported for SnapStart enabled functions.",
    ),
    ({"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}, "Tenant isolation is not available here."),
    ({"DurableConfig": {"ExecutionTimeout": 60}}, "Durable executions are not available here."),
    (
        {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": PROVIDER}}},
        "Capacity providers are not available here: functions run on the workers of this cluster.",
    ),
]


@pytest.mark.parametrize(("settings", "message"), CONTRADICTIONS)
async def test_what_cannot_be_kept_is_refused_and_leaves_nothing_behind(
    control: Control, settings: dict[str, Any], message: str
) -> None:
    name = await control.create()
    await control("DeleteFunction", FunctionName=name)
    with pytest.raises(InvalidParameterValueException) as refused:
        await control.create(name, **settings)
    assert refused.value.message == message
    with pytest.raises(ResourceNotFoundException):
        await control("GetFunction", FunctionName=name)


async def test_nothing_is_published_for_a_capacity_provider(control: Control) -> None:
    name = await control.create()
    for operation, sent in (("PublishVersion", {}), ("UpdateFunctionCode", {"ZipFile": ZIP})):
        with pytest.raises(InvalidParameterValueException, match="Capacity providers are not available here"):
            await control(operation, FunctionName=name, PublishTo="LATEST_PUBLISHED", **sent)
    assert len((await control("ListVersionsByFunction", FunctionName=name))["Versions"]) == 1


@pytest.mark.parametrize("runtime", ["java11", "java21", "java25", "python3.12", "python3.13", "dotnet8", "dotnet10"])
async def test_snap_start_is_taken_for_the_runtimes_that_have_it(control: Control, runtime: str) -> None:
    name = await control.create(**SNAP_START, Runtime=runtime)
    shown = (await control("GetFunctionConfiguration", FunctionName=name))["SnapStart"]
    assert shown == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    published = await control("PublishVersion", FunctionName=name)
    assert published["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    with pytest.raises(InvalidParameterValueException):
        await control("UpdateFunctionConfiguration", FunctionName=name, Runtime="nodejs22.x")


async def test_what_is_kept_is_shown_as_it_was_sent_by_the_function_and_by_its_versions(control: Control) -> None:
    system = {"Arn": EFS, "LocalMountPath": "/mnt/efs", "S3FilesConfig": {"DirectS3Read": "AUTO"}}
    sent: dict[str, Any] = {
        "FileSystemConfigs": [system],
        "TracingConfig": {"Mode": "Active"},
        "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1",
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "TRACE", "SystemLogLevel": "WARN", "LogGroup": "mine"},
    }
    name = await control.create(**sent, VpcConfig={**VPC, "Ipv6AllowedForDualStack": True}, Publish=True)
    for qualifier in ("$LATEST", "1"):
        shown = await control("GetFunctionConfiguration", FunctionName=name, Qualifier=qualifier)
        assert {key: shown[key] for key in sent} == sent
        assert shown["VpcConfig"]["Ipv6AllowedForDualStack"] is True
    await control("UpdateFunctionConfiguration", FunctionName=name, KMSKeyArn="", FileSystemConfigs=[])
    shown = await control("GetFunctionConfiguration", FunctionName=name)
    assert not {"KMSKeyArn", "FileSystemConfigs"} & set(shown)
    assert shown["TracingConfig"] == {"Mode": "Active"}


async def test_the_key_that_was_named_with_the_code_is_shown_with_the_code_until_other_code_comes(control: Control) -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/1"
    name = await control.create(Code={"ZipFile": ZIP, "SourceKMSKeyArn": key}, Publish=True)
    assert (await control("GetFunction", FunctionName=name, Qualifier="1"))["Code"]["SourceKMSKeyArn"] == key
    await control("UpdateFunctionConfiguration", FunctionName=name, Description="changed")
    assert (await control("GetFunction", FunctionName=name))["Code"]["SourceKMSKeyArn"] == key
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=ZIP)
    assert "SourceKMSKeyArn" not in (await control("GetFunction", FunctionName=name))["Code"]


async def test_a_function_cannot_leave_its_vpc_while_it_has_file_systems(control: Control) -> None:
    name = await control.create(FileSystemConfigs=[{"Arn": EFS, "LocalMountPath": "/mnt/efs"}], VpcConfig=VPC)
    empty: dict[str, Any] = {"SubnetIds": [], "SecurityGroupIds": []}
    with pytest.raises(InvalidParameterValueException):
        await control("UpdateFunctionConfiguration", FunctionName=name, VpcConfig=empty)
    await control("UpdateFunctionConfiguration", FunctionName=name, VpcConfig=empty, FileSystemConfigs=[])
