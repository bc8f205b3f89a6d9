"""Refusals in the words of the service, each operation's own."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain.errors import (
    ApiError,
    InvalidParameterValueException,
    ResourceNotFoundException,
    UserError,
)
from tests.integration.registry.support import Control, function_request

HERE = "arn:aws:lambda:us-east-1:000000000000:function"
LONG = "a" * 65
PERMISSION = {"StatementId": "s", "Action": "lambda:InvokeFunction"}


async def refusal(control: Control, operation: str, **request: Any) -> tuple[type[ApiError], str]:
    with pytest.raises(UserError) as refused:
        await control(operation, **request)
    return type(refused.value), refused.value.message


@pytest.mark.parametrize("operation", ["GetFunction", "GetFunctionConfiguration", "DeleteFunction", "PublishVersion"])
@pytest.mark.parametrize("form", [LONG, f"{HERE}:{LONG}"])
async def test_a_name_that_no_function_can_have_is_one_that_does_not_exist(control: Control, operation: str, form: str) -> None:
    found = await refusal(control, operation, FunctionName=form)
    assert found == (ResourceNotFoundException, f"Function not found: {HERE}:{LONG}")


async def test_a_name_that_no_function_can_have_is_refused_where_one_is_made(control: Control) -> None:
    error, text = await refusal(control, "CreateFunction", **function_request(LONG))
    assert error is InvalidParameterValueException
    assert text.endswith("at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64")


@pytest.mark.parametrize("qualifier", ["$latest", "alias", "7"])
async def test_deleting_what_hangs_on_a_missing_function_says_that_the_function_is_missing(
    control: Control, qualifier: str
) -> None:
    found = await refusal(control, "DeleteFunction", FunctionName="not-there", Qualifier=qualifier)
    assert found == (ResourceNotFoundException, f"Function not found: {HERE}:not-there")


async def test_deleting_an_alias_by_its_function_is_refused(control: Control) -> None:
    name = await control.create()
    found = await refusal(control, "DeleteFunction", FunctionName=name, Qualifier="alias")
    assert found == (InvalidParameterValueException, "Deletion of aliases is not currently supported.")


async def test_removing_a_permission_says_what_is_missing(control: Control) -> None:
    name = await control.create()

    async def removing(**where: str) -> tuple[type[ApiError], str]:
        return await refusal(control, "RemovePermission", StatementId="s", **where)

    missing = ResourceNotFoundException
    assert await removing(FunctionName="not-there") == (missing, f"No policy found for: {HERE}:not-there")
    assert await removing(FunctionName="not-there", Qualifier="x") == (missing, f"No policy found for: {HERE}:not-there")
    assert await removing(FunctionName=name, Qualifier="x") == (missing, f"Cannot find alias arn: {HERE}:{name}:x")
    assert await removing(FunctionName=name, Qualifier="7") == (missing, f"Function not found: {HERE}:{name}:7")
    assert await removing(FunctionName=name) == (missing, "No policy is associated with the given resource.")


@pytest.mark.parametrize(
    "principal",
    [
        "invalid.nonaws.com",
        "nonaws.com",
        "amazonaws.com",
        "evilamazonaws.com",
        "s3.amazonaws.com.example.org",
        "example.org",
        "12345",
        "1234567890123",
        "arn:aws:s3:::bucket",
        "arn:aws:iam::1:user/x",
        "arn:aws:iam::000000000000:user/*",
        "someone",
    ],
)
async def test_a_principal_that_is_none_is_refused(control: Control, principal: str) -> None:
    name = await control.create()
    found = await refusal(control, "AddPermission", FunctionName=name, Principal=principal, **PERMISSION)
    text = "The provided principal was invalid. Please check the principal and try again."
    assert found == (InvalidParameterValueException, text)


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        "123456789012",
        "s3.amazonaws.com",
        "logs.us-east-1.amazonaws.com",
        "apidestinations.events.amazonaws.com",
        "ec2.amazonaws.com.cn",
        "alexa-appkit.amazon.com",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:role/service-role/x",
        "arn:aws:sts::123456789012:assumed-role/x/session",
    ],
)
async def test_a_principal_of_every_kind_is_taken(control: Control, principal: str) -> None:
    name = await control.create()
    await control("AddPermission", FunctionName=name, Principal=principal, **PERMISSION)


async def test_a_permission_for_what_is_missing_says_what_is_missing(control: Control) -> None:
    name = await control.create()
    permission = {**PERMISSION, "Principal": "s3.amazonaws.com"}
    missing = ResourceNotFoundException
    found = await refusal(control, "AddPermission", FunctionName="not-there", **permission)
    assert found == (missing, f"Function not found: {HERE}:not-there")
    found = await refusal(control, "AddPermission", FunctionName=name, Qualifier="x", **permission)
    assert found == (missing, f"Cannot find alias arn: {HERE}:{name}:x")
    found = await refusal(control, "AddPermission", FunctionName=name, Qualifier="7", **permission)
    assert found == (missing, f"Function not found: {HERE}:{name}:7")


@pytest.mark.parametrize("operation", ["PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"])
@pytest.mark.parametrize("side", ["OnSuccess", "OnFailure"])
async def test_a_function_as_destination_has_to_be_there_and_another(control: Control, operation: str, side: str) -> None:
    name, other = await control.create(), await control.create()
    await control("PutFunctionEventInvokeConfig", FunctionName=name, MaximumRetryAttempts=1)

    async def to(destination: str) -> tuple[type[ApiError], str]:
        config = {side: {"Destination": destination}}
        return await refusal(control, operation, FunctionName=name, DestinationConfig=config)

    for missing in (f"{HERE}:not-there", f"{HERE}:{other}:7", f"{HERE}:{other}:alias", f"{HERE}:{name}:7"):
        assert await to(missing) == (InvalidParameterValueException, f"The destination ARN {missing} is invalid.")
    for itself in (f"{HERE}:{name}", f"{HERE}:{name}:$LATEST"):
        found = (InvalidParameterValueException, "You can't specify the function as a destination for itself.")
        assert await to(itself) == found
    for good in (f"{HERE}:{other}", f"{HERE}:{other}:$LATEST"):
        reply = await control(operation, FunctionName=name, DestinationConfig={side: {"Destination": good}})
        assert reply["DestinationConfig"][side] == {"Destination": good}


async def test_urls_of_what_is_missing_are_answered_as_each_operation_does(control: Control) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    await control("CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    config, function = "The resource you requested does not exist.", "Function does not exist"
    for operation, more, texts in (
        ("CreateFunctionUrlConfig", {"AuthType": "NONE"}, (function, function)),
        ("UpdateFunctionUrlConfig", {"AuthType": "NONE"}, (function, function, config, config)),
        ("GetFunctionUrlConfig", {}, (config, config, config, config)),
        ("DeleteFunctionUrlConfig", {}, (config, config, config, config)),
        ("ListFunctionUrlConfigs", {}, (function,)),
    ):
        places: tuple[dict[str, str], ...] = (
            {"FunctionName": "not-there"},
            {"FunctionName": name, "Qualifier": "x"},
            {"FunctionName": name},
            {"FunctionName": name, "Qualifier": "live"},
        )
        for place, text in zip(places, texts, strict=False):
            assert await refusal(control, operation, **place, **more) == (ResourceNotFoundException, text), (operation, place)
