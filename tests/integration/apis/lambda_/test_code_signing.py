"""Code signing configurations: who uses them, what they refuse, and that they cannot go away under a function."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from deploy.local.sign import new_key
from shared.domain.errors import (
    ApiError,
    CodeSigningConfigNotFoundException,
    CodeVerificationFailedException,
    InvalidCodeSignatureException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.domain.package_signatures import sign
from tests.integration.registry.support import OTHER_ZIP, ZIP, Control, function_request

PUBLISHER = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/test/abcdefghij"
OTHER_PUBLISHER = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/other/abcdefghij"
MISSING = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-00000000000000000"


async def config(control: Control, policy: str | None = None, **request: Any) -> str:
    """The ARN of a new configuration."""
    policies = {} if policy is None else {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy}}
    publishers = {"SigningProfileVersionArns": [PUBLISHER]}
    reply = await control("CreateCodeSigningConfig", AllowedPublishers=publishers, **policies, **request)
    return str(reply["CodeSigningConfig"]["CodeSigningConfigArn"])


async def test_a_configuration_warns_when_no_policy_was_sent_and_keeps_what_an_update_leaves_out(control: Control) -> None:
    arn = await config(control, Description="first")
    publishers = {"SigningProfileVersionArns": [PUBLISHER + "2"]}
    await control("UpdateCodeSigningConfig", CodeSigningConfigArn=arn, AllowedPublishers=publishers)
    shown = (await control("GetCodeSigningConfig", CodeSigningConfigArn=arn))["CodeSigningConfig"]
    assert shown["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert shown["Description"] == "first"
    assert shown["AllowedPublishers"] == publishers
    await control("UpdateCodeSigningConfig", CodeSigningConfigArn=arn, Description="")
    assert (await control("GetCodeSigningConfig", CodeSigningConfigArn=arn))["CodeSigningConfig"]["Description"] == ""


async def test_enforce_refuses_unsigned_code_of_a_new_function_and_makes_none(control: Control) -> None:
    arn = await config(control, "Enforce")
    with pytest.raises(CodeVerificationFailedException) as refused:
        await control.create("refused-function", CodeSigningConfigArn=arn)
    assert refused.value.message == (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        "not configured to accept. Check the provided signature for refused-function."
    )
    with pytest.raises(ResourceNotFoundException):
        await control("GetFunction", FunctionName="refused-function")


async def test_warn_lets_unsigned_code_through_and_counts_it(control: Control) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("lambdad_untrusted_deployments_total", {"policy": "Warn"}) or 0.0

    arn = await config(control, "Warn")
    before = counted()
    name = await control.create(CodeSigningConfigArn=arn)
    assert counted() == before + 1
    assert (await control("GetFunctionCodeSigningConfig", FunctionName=name))["CodeSigningConfigArn"] == arn


async def test_enforce_refuses_an_update_of_the_code_but_not_of_the_configuration(control: Control) -> None:
    arn = await config(control, "Warn")
    name = await control.create(CodeSigningConfigArn=arn)
    before = (await control("GetFunctionConfiguration", FunctionName=name))["CodeSha256"]
    policy = {"UntrustedArtifactOnDeployment": "Enforce"}
    await control("UpdateCodeSigningConfig", CodeSigningConfigArn=arn, CodeSigningPolicies=policy)
    with pytest.raises(CodeVerificationFailedException):
        await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    await control("UpdateFunctionConfiguration", FunctionName=name, Description="changed")
    after = await control("GetFunctionConfiguration", FunctionName=name)
    assert (after["CodeSha256"], after["Description"]) == (before, "changed")
    await control("DeleteFunctionCodeSigningConfig", FunctionName=name)
    assert (await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP))["CodeSha256"] != before


async def test_a_function_cannot_be_made_with_a_configuration_that_does_not_exist(control: Control) -> None:
    for arn in (MISSING, (await config(control)).replace("us-east-1", "eu-west-1")):
        with pytest.raises(CodeSigningConfigNotFoundException) as missing:
            await control.create(CodeSigningConfigArn=arn)
        assert missing.value.message.endswith(f"is not deleted: {arn}.")


async def test_a_configuration_in_use_cannot_be_deleted_until_its_functions_leave_it(control: Control) -> None:
    arn = await config(control)
    names = sorted([await control.create(CodeSigningConfigArn=arn), await control.create()])
    for name in names:
        await control("PutFunctionCodeSigningConfig", FunctionName=name, CodeSigningConfigArn=arn)
    first = await control("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn, MaxItems=1)
    second = await control("ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn, Marker=first["NextMarker"])
    assert [text.rpartition(":")[2] for text in first["FunctionArns"] + second["FunctionArns"]] == names
    with pytest.raises(ResourceConflictException):
        await control("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    await control("DeleteFunctionCodeSigningConfig", FunctionName=names[0])
    await control("DeleteFunction", FunctionName=names[1])
    await control("DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    with pytest.raises(ResourceNotFoundException):
        await control("GetCodeSigningConfig", CodeSigningConfigArn=arn)


async def test_a_configuration_is_never_deleted_under_a_function_that_takes_it_at_the_same_time(control: Control) -> None:
    for _ in range(10):
        arn, name = await config(control), await control.create()
        results = await asyncio.gather(
            control("PutFunctionCodeSigningConfig", FunctionName=name, CodeSigningConfigArn=arn),
            control("DeleteCodeSigningConfig", CodeSigningConfigArn=arn),
            return_exceptions=True,
        )
        failed = [result for result in results if isinstance(result, BaseException)]
        assert len(failed) == 1
        assert isinstance(failed[0], ApiError)
        assert failed[0].code in ("CodeSigningConfigNotFoundException", "ResourceConflictException")


async def test_configurations_carry_tags(control: Control) -> None:
    arn = await config(control, Tags={"a": "1"})
    await control("TagResource", Resource=arn, Tags={"b": "2"})
    assert await control("ListTags", Resource=arn) == {"Tags": {"a": "1", "b": "2"}}
    await control("UntagResource", Resource=arn, TagKeys=["a"])
    assert await control("ListTags", Resource=arn) == {"Tags": {"b": "2"}}
    with pytest.raises(InvalidParameterValueException):
        await control("TagResource", Resource=arn, Tags={f"key-{number}": "x" for number in range(50)})
    with pytest.raises(ResourceNotFoundException):
        await control("ListTags", Resource=MISSING)


async def test_every_configuration_is_listed_once_over_all_pages(control: Control) -> None:
    made = {await config(control) for _ in range(5)}
    seen: list[str] = []
    marker: dict[str, str] = {}
    for _ in range(100):
        page = await control("ListCodeSigningConfigs", MaxItems=2, **marker)
        seen += [one["CodeSigningConfigArn"] for one in page["CodeSigningConfigs"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert len(seen) == len(set(seen))
    assert made <= set(seen)


async def test_a_second_function_of_the_name_is_refused_although_a_configuration_is_sent(control: Control) -> None:
    arn = await config(control)
    name = await control.create(CodeSigningConfigArn=arn)
    with pytest.raises(ResourceConflictException):
        await control("CreateFunction", **function_request(name), CodeSigningConfigArn=arn)


@pytest.fixture
def key(control: Control, tmp_path: Path) -> Iterator[bytes]:
    """The private key of PUBLISHER and of another publisher, whom configurations here do not allow."""
    keys = control.settings.code_signing.public_keys
    keys[PUBLISHER] = keys[OTHER_PUBLISHER] = new_key(tmp_path / "key.pem")
    yield (tmp_path / "key.pem").read_bytes()
    keys.clear()


async def test_what_an_allowed_publisher_signed_may_be_deployed_and_shows_who_signed_it(control: Control, key: bytes) -> None:
    arn = await config(control, "Enforce")
    name = await control.create(CodeSigningConfigArn=arn, Code={"ZipFile": sign(ZIP, PUBLISHER, key)}, Publish=True)
    for qualifier in ("$LATEST", "1"):
        shown = await control("GetFunctionConfiguration", FunctionName=name, Qualifier=qualifier)
        assert shown["SigningProfileVersionArn"] == PUBLISHER
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=sign(OTHER_ZIP, PUBLISHER, key))
    for refused in (OTHER_ZIP, sign(OTHER_ZIP, OTHER_PUBLISHER, key), sign(OTHER_ZIP, PUBLISHER + "-unknown", key)):
        with pytest.raises(CodeVerificationFailedException):
            await control("UpdateFunctionCode", FunctionName=name, ZipFile=refused)
    await control("DeleteFunctionCodeSigningConfig", FunctionName=name)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=OTHER_ZIP)
    assert "SigningProfileVersionArn" not in await control("GetFunctionConfiguration", FunctionName=name)


async def test_a_signature_of_other_code_is_refused_even_where_untrusted_code_is_only_warned_of(
    control: Control, key: bytes
) -> None:
    forged = OTHER_ZIP[:-2] + sign(ZIP, PUBLISHER, key)[len(ZIP) - 2 :]
    arn = await config(control, "Warn")
    name = await control.create(CodeSigningConfigArn=arn)
    with pytest.raises(InvalidCodeSignatureException):
        await control("UpdateFunctionCode", FunctionName=name, ZipFile=forged)
    with pytest.raises(InvalidCodeSignatureException):
        await control.create(CodeSigningConfigArn=arn, Code={"ZipFile": forged})
    await control.create(Code={"ZipFile": forged})


async def test_layers_must_be_signed_like_the_code_of_the_functions_that_take_them(control: Control, key: bytes) -> None:
    arn = await config(control, "Enforce")
    layers = {}
    for kind, package in (("signed", sign(ZIP, PUBLISHER, key)), ("unsigned", ZIP)):
        reply = await control("PublishLayerVersion", LayerName=f"{kind}-layer", Content={"ZipFile": package})
        layers[kind] = [reply["LayerVersionArn"]]
    code = {"ZipFile": sign(ZIP, PUBLISHER, key)}
    name = await control.create(CodeSigningConfigArn=arn, Code=code, Layers=layers["signed"])
    with pytest.raises(CodeVerificationFailedException):
        await control("UpdateFunctionConfiguration", FunctionName=name, Layers=layers["unsigned"])
    with pytest.raises(CodeVerificationFailedException):
        await control.create(CodeSigningConfigArn=arn, Code=code, Layers=layers["unsigned"])
    await control("UpdateFunctionConfiguration", FunctionName=name, Layers=layers["signed"])
    assert [one["Arn"] for one in (await control("GetFunctionConfiguration", FunctionName=name))["Layers"]] == layers["signed"]
