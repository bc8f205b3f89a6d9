"""What is set beside a function's configuration, and what this engine has none of."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from services.frontend.apis.lambda_.absent import ABSENT
from services.worker.telemetry.events import InitStart
from shared.aws.protocols.rest_json import serialize_reply
from shared.aws.service_model import Kind, Shape, load_service_model
from shared.aws.validation import validate
from shared.domain.errors import ApiError, InvalidParameterValueException, ResourceNotFoundException
from tests.integration.registry.support import Control
from tests.support import ROLE
from tests.unit.worker.specs import version
from tests.unit.worker.test_platform_lines import renderer_for

MODEL = load_service_model()
ACCOUNT_ARN = "arn:aws:lambda:us-east-1:000000000000"


async def test_runtime_management_is_automatic_until_it_is_set_for_one_version(control: Control) -> None:
    name = await control.create(Publish=True)
    arn = f"{ACCOUNT_ARN}:function:{name}"
    get = "GetRuntimeManagementConfig"
    before = await control(get, FunctionName=name)
    assert before == {"UpdateRuntimeOn": "Auto", "FunctionArn": arn, "RuntimeVersionArn": None}
    await control("PutRuntimeManagementConfig", FunctionName=name, Qualifier="1", UpdateRuntimeOn="FunctionUpdate")
    assert (await control(get, FunctionName=name, Qualifier="1"))["UpdateRuntimeOn"] == "FunctionUpdate"
    assert (await control(get, FunctionName=name))["UpdateRuntimeOn"] == "Auto"
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    aliased = await control(get, FunctionName=name, Qualifier="live")
    assert (aliased["UpdateRuntimeOn"], aliased["FunctionArn"]) == ("FunctionUpdate", f"{arn}:live")


async def test_manual_runtime_management_holds_on_to_the_runtime_version_that_the_function_has(control: Control) -> None:
    name = await control.create()
    put = "PutRuntimeManagementConfig"
    current = (await control("GetFunctionConfiguration", FunctionName=name))["RuntimeVersionConfig"]["RuntimeVersionArn"]
    told = renderer_for(version(runtime="python3.12"))(InitStart()).decode()
    assert told.rstrip().endswith(f"Runtime Version ARN: {current}"), "the log names another runtime version"
    kept = await control(put, FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=current)
    assert kept["RuntimeVersionArn"] == current
    assert await control("GetRuntimeManagementConfig", FunctionName=name) == kept
    for wrong in ({}, {"RuntimeVersionArn": current[:-1] + "x"}):
        with pytest.raises(InvalidParameterValueException):
            await control(put, FunctionName=name, UpdateRuntimeOn="Manual", **wrong)
    assert (await control(put, FunctionName=name, UpdateRuntimeOn="Auto"))["RuntimeVersionArn"] is None


async def test_runtime_management_of_what_does_not_exist_is_not_found(control: Control) -> None:
    name = await control.create()
    for function, qualifier in ((name, "7"), (name, "nothing"), ("doesnotexist", "$LATEST")):
        for operation, more in (
            ("GetRuntimeManagementConfig", {}),
            ("PutRuntimeManagementConfig", {"UpdateRuntimeOn": "Auto"}),
        ):
            with pytest.raises(ResourceNotFoundException) as missing:
                await control(operation, FunctionName=function, Qualifier=qualifier, **more)
            assert missing.value.message == f"Function not found: {ACCOUNT_ARN}:function:{function}:{qualifier}"


async def test_runtime_management_of_a_version_goes_with_the_version(control: Control) -> None:
    name = await control.create(Publish=True)
    await control("PutRuntimeManagementConfig", FunctionName=name, Qualifier="1", UpdateRuntimeOn="FunctionUpdate")
    await control("DeleteFunction", FunctionName=name, Qualifier="1")
    await control("DeleteFunction", FunctionName=name)
    await control.create(name, Publish=True)
    assert (await control("GetRuntimeManagementConfig", FunctionName=name, Qualifier="1"))["UpdateRuntimeOn"] == "Auto"


async def test_a_change_of_the_recursion_setting_reaches_whoever_resolves_the_function_next(control: Control) -> None:
    name = await control.create()
    assert not (await control.targets.resolve(control.arn(name), None)).event_invoke.recursion_allowed
    await control("PutFunctionRecursionConfig", FunctionName=name, RecursiveLoop="Allow")
    target = await control.targets.resolve(control.arn(name), None)
    assert target.event_invoke.recursion_allowed
    assert control.announcer.functions[-1][1] == target.revision
    with pytest.raises(ResourceNotFoundException):
        await control("PutFunctionRecursionConfig", FunctionName="doesnotexist", RecursiveLoop="Allow")


async def test_what_this_engine_has_none_of_is_empty_or_not_found_and_never_an_internal_error(control: Control) -> None:
    name = await control.create(Publish=True)
    lists = {"ListCapacityProviders": "CapacityProviders", "ListDurableExecutionsByFunction": "DurableExecutions"}
    for operation in ABSENT:
        model = MODEL.operations[operation]
        request = example(model.input, name)
        validate(model, request)
        if operation in lists:
            reply = await control(operation, **request)
            assert reply == {lists[operation]: []}
            assert serialize_reply(model, reply).status == 200
            continue
        with pytest.raises(ApiError) as refused:
            await control(operation, **request)
        creates = operation.startswith(("Create", "PutFunction", "Checkpoint")) or operation == "GetDurableExecutionState"
        assert (refused.value.code, refused.value.status) == (
            ("InvalidParameterValueException", 400) if creates else ("ResourceNotFoundException", 404)
        )


async def test_the_function_is_looked_for_before_anything_that_this_engine_has_none_of(control: Control) -> None:
    for operation in ABSENT:
        shape = MODEL.operations[operation].input
        assert shape is not None
        if not {"FunctionName", "DurableExecutionArn"} & set(shape.members):
            continue
        with pytest.raises(ResourceNotFoundException) as missing:
            await control(operation, **example(shape, "doesnotexist"))
        assert missing.value.message.startswith(f"Function not found: {ACCOUNT_ARN}:function:doesnotexist")


def example(shape: Shape | None, function_name: str) -> dict[str, Any]:
    """A valid request with what is required."""
    known = {
        "FunctionName": function_name,
        "Qualifier": "1",
        "CapacityProviderName": "provider",
        "DurableExecutionArn": f"{ACCOUNT_ARN}:function:{function_name}:1/durable-execution/name/id",
        "CheckpointToken": base64.b64encode(b"token").decode(),
        "CallbackId": base64.b64encode(b"callback").decode(),
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
    }
    assert shape is not None
    assert shape.kind is Kind.STRUCTURE
    return {name: known[name] for name in shape.required}
