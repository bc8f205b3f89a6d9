"""Function URLs and resource policies as the control plane keeps them."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    PublicPolicyException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.registry.registry import Registry
from shared.registry.url_cache import UrlCache
from tests.integration.registry.support import Control

ACCOUNT_ARN = "arn:aws:lambda:us-east-1:000000000000:function"
CORS = {
    "AllowCredentials": True,
    "AllowHeaders": ["x-a"],
    "AllowMethods": ["GET", "PUT"],
    "AllowOrigins": ["https://a.example"],
    "ExposeHeaders": ["x-b"],
    "MaxAge": 0,
}


async def with_alias(control: Control, alias: str = "live") -> str:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    await control("CreateAlias", FunctionName=name, Name=alias, FunctionVersion="1")
    return name


async def test_every_setting_is_kept_and_shown(control: Control) -> None:
    name = await control.create()
    made = await control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE", Cors=CORS, InvokeMode="RESPONSE_STREAM")
    assert re.fullmatch(r"http://[a-z0-9]{32}\.lambda-url\.us-east-1\.localhost:9000/", made["FunctionUrl"])
    assert json.loads(json.dumps(made["Cors"])) == CORS
    assert made["InvokeMode"] == "RESPONSE_STREAM"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["CreationTime"])
    found = await control("GetFunctionUrlConfig", FunctionName=name)
    assert found.pop("LastModifiedTime") == made["CreationTime"]
    assert found == made


async def test_an_update_keeps_what_it_leaves_out_and_replaces_cors_as_a_whole(control: Control) -> None:
    name = await control.create()
    made = await control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE", Cors=CORS)
    changed = await control("UpdateFunctionUrlConfig", FunctionName=name, InvokeMode="RESPONSE_STREAM")
    assert (changed["AuthType"], changed["Cors"], changed["InvokeMode"]) == ("NONE", made["Cors"], "RESPONSE_STREAM")
    assert changed["FunctionUrl"] == made["FunctionUrl"]
    assert changed["CreationTime"] == made["CreationTime"] < changed["LastModifiedTime"]
    changed = await control("UpdateFunctionUrlConfig", FunctionName=name, Cors={"AllowOrigins": ["*"]}, AuthType="AWS_IAM")
    assert (changed["AuthType"], dict(changed["Cors"])) == ("AWS_IAM", {"AllowOrigins": ("*",)})
    assert "Cors" not in await control("UpdateFunctionUrlConfig", FunctionName=name, Cors={})
    found = await control("GetFunctionUrlConfig", FunctionName=name)
    assert "Cors" not in found
    assert found["InvokeMode"] == "RESPONSE_STREAM"


async def test_cors_needs_an_origin(control: Control) -> None:
    name = await control.create()
    with pytest.raises(InvalidParameterValueException, match=r"^You can't leave AllowOrigins as empty when Cors is enabled\.$"):
        await control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE", Cors={"MaxAge": 5, "AllowOrigins": []})


async def test_only_functions_and_aliases_that_exist_get_a_url(control: Control) -> None:
    name = await control.create()
    for request in ({"FunctionName": "not-there"}, {"FunctionName": name, "Qualifier": "not-there"}):
        with pytest.raises(ResourceNotFoundException, match=r"^Function does not exist$"):
            await control("CreateFunctionUrlConfig", AuthType="NONE", **request)
        for operation in ("GetFunctionUrlConfig", "DeleteFunctionUrlConfig"):
            with pytest.raises(ResourceNotFoundException, match=r"^The resource you requested does not exist\.$"):
                await control(operation, **request)


async def test_of_several_who_create_a_url_at_once_one_succeeds(control: Control) -> None:
    name = await control.create()
    results = await asyncio.gather(
        *(control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE") for _ in range(6)), return_exceptions=True
    )
    made = [one for one in results if isinstance(one, dict)]
    assert len(made) == 1
    assert all(isinstance(one, ResourceConflictException) for one in results if one is not made[0])
    assert (await control("GetFunctionUrlConfig", FunctionName=name))["FunctionUrl"] == made[0]["FunctionUrl"]


async def test_a_url_goes_with_its_alias_and_with_its_function_and_its_id_never_comes_back(control: Control) -> None:
    name = await with_alias(control)
    own = await control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
    await control("CreateFunctionUrlConfig", FunctionName=name, Qualifier="live", AuthType="NONE")
    await control("DeleteAlias", FunctionName=name, Name="live")
    listed = await control("ListFunctionUrlConfigs", FunctionName=name)
    assert [one["FunctionUrl"] for one in listed["FunctionUrlConfigs"]] == [own["FunctionUrl"]]
    await control("DeleteFunction", FunctionName=name)
    await control.create(name)
    assert (await control("ListFunctionUrlConfigs", FunctionName=name))["FunctionUrlConfigs"] == []
    again = await control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
    assert again["FunctionUrl"] != own["FunctionUrl"]


async def test_a_url_that_is_deleted_leaves_the_policy(control: Control) -> None:
    name = await control.create()
    await control("CreateFunctionUrlConfig", FunctionName=name, AuthType="NONE")
    await control("AddPermission", FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    await control("DeleteFunctionUrlConfig", FunctionName=name)
    assert "lambda:InvokeFunction" in (await control("GetPolicy", FunctionName=name))["Policy"]


async def test_the_cache_sees_every_change_at_once(control: Control) -> None:
    cache = UrlCache(control.registry, control.settings)
    control.context.urls = cache
    name = await with_alias(control)
    url_id = (await control("CreateFunctionUrlConfig", FunctionName=name, Qualifier="live", AuthType="NONE"))["FunctionUrl"][
        7:39
    ]
    found = await cache.find(url_id)
    assert found is not None
    assert (found.function_name, found.qualifier, found.url.auth_type, found.statements) == (name, "live", "NONE", ())
    await control("UpdateFunctionUrlConfig", FunctionName=name, Qualifier="live", AuthType="AWS_IAM")
    found = await cache.find(url_id)
    assert found is not None
    assert found.url.auth_type == "AWS_IAM"
    permission = {"FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
    await control("AddPermission", **permission, Qualifier="live")
    await control("AddPermission", **permission)
    await control("AddPermission", **permission, Qualifier="1")
    found = await cache.find(url_id)
    assert found is not None
    assert len(found.statements) == 2
    await control("RemovePermission", FunctionName=name, StatementId="s", Qualifier="live")
    await control("DeleteResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:{name}")
    found = await cache.find(url_id)
    assert found is not None
    assert found.statements == ()
    await control("DeleteAlias", FunctionName=name, Name="live")
    assert await cache.find(url_id) is None
    assert control.announcer.urls.count(found.url.function_id) >= 7, "other frontends heard of each"


async def test_the_cache_reads_once_for_many_and_not_again_for_what_is_not_there(control: Control) -> None:
    counted = Counted(control.registry)
    cache = UrlCache(counted, control.settings)
    assert set(await asyncio.gather(*(cache.find("k" * 32) for _ in range(20)))) == {None}
    assert await cache.find("k" * 32) is None
    assert counted.reads == 1
    cache.forget("any")
    assert await cache.find("k" * 32) is None
    assert counted.reads == 2


class Counted(Registry):
    """A registry that counts how often it is read."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.reads = 0

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        self.reads += 1
        return self._registry.read()


def document(name: str, **changes: str) -> str:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": f"{ACCOUNT_ARN}:{name}", **changes}
    return json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": [statement]})


async def test_a_policy_is_put_read_and_deleted_as_a_whole(control: Control) -> None:
    name = await control.create()
    resource = f"{ACCOUNT_ARN}:{name}"
    await control("AddPermission", FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    before = await control("GetPolicy", FunctionName=name)
    assert await control("GetResourcePolicy", ResourceArn=resource) == before
    put = await control("PutResourcePolicy", ResourceArn=resource, Policy=document(name), RevisionId=before["RevisionId"])
    assert json.loads(put["Policy"]) == json.loads(document(name))
    assert put["RevisionId"] != before["RevisionId"]
    assert await control("GetPolicy", FunctionName=name) == put
    added = {"FunctionName": name, "StatementId": "t", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    await control("AddPermission", **added, RevisionId=put["RevisionId"])
    both = json.loads((await control("GetResourcePolicy", ResourceArn=resource))["Policy"])
    assert (both["Id"], [one["Effect"] for one in both["Statement"]]) == ("mine", ["Deny", "Allow"])
    await control("RemovePermission", FunctionName=name, StatementId="t")
    assert await control("DeleteResourcePolicy", ResourceArn=resource) == {}
    for operation, request in (("GetPolicy", {"FunctionName": name}), ("GetResourcePolicy", {"ResourceArn": resource})):
        with pytest.raises(ResourceNotFoundException, match="The resource you requested does not exist"):
            await control(operation, **request)
    with pytest.raises(ResourceNotFoundException, match="No policy is associated with the given resource"):
        await control("DeleteResourcePolicy", ResourceArn=resource)


async def test_a_policy_is_changed_only_from_the_revision_that_was_seen(control: Control) -> None:
    name = await control.create()
    resource = f"{ACCOUNT_ARN}:{name}"
    wrong = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(PreconditionFailedException, match="Call the GetResourcePolicy API"):
        await control("PutResourcePolicy", ResourceArn=resource, Policy=document(name), RevisionId=wrong)
    first = await control("PutResourcePolicy", ResourceArn=resource, Policy=document(name))
    for operation, more in (("PutResourcePolicy", {"Policy": document(name)}), ("DeleteResourcePolicy", {})):
        with pytest.raises(PreconditionFailedException):
            await control(operation, ResourceArn=resource, RevisionId=wrong, **more)
    results = await asyncio.gather(
        *(
            control("PutResourcePolicy", ResourceArn=resource, Policy=document(name), RevisionId=first["RevisionId"])
            for _ in range(4)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(one, dict) for one in results) == 1
    last = await control("GetResourcePolicy", ResourceArn=resource)
    await control("DeleteResourcePolicy", ResourceArn=resource, RevisionId=last["RevisionId"])


async def test_versions_and_aliases_have_policies_of_their_own(control: Control) -> None:
    name = await with_alias(control)
    for qualifier in ("1", "live"):
        resource = f"{ACCOUNT_ARN}:{name}:{qualifier}"
        await control("PutResourcePolicy", ResourceArn=resource, Policy=document(f"{name}:{qualifier}"))
        assert qualifier in (await control("GetPolicy", FunctionName=name, Qualifier=qualifier))["Policy"]
        with pytest.raises(InvalidParameterValueException, match="The provided policy is not valid"):
            await control("PutResourcePolicy", ResourceArn=resource, Policy=document(name))
    with pytest.raises(ResourceNotFoundException):
        await control("GetResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:{name}")


async def test_what_cannot_have_a_policy_is_told(control: Control) -> None:
    name = await control.create()
    with pytest.raises(ResourceNotFoundException, match="Function not found"):
        await control("PutResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:no", Policy=document("no"))
    with pytest.raises(ResourceNotFoundException, match="Function not found"):
        await control("PutResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:{name}:9", Policy=document(f"{name}:9"))
    with pytest.raises(InvalidParameterValueException, match=r"\$LATEST"):
        await control("PutResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:{name}:$LATEST", Policy=document(f"{name}:$LATEST"))
    elsewhere = f"{ACCOUNT_ARN}:{name}".replace("us-east-1", "eu-west-1")
    with pytest.raises(ResourceNotFoundException, match="not reachable in this region"):
        await control("GetResourcePolicy", ResourceArn=elsewhere)
    with pytest.raises(ResourceNotFoundException):
        await control("GetResourcePolicy", ResourceArn="arn:aws:lambda:us-east-1:000000000000:runtime/python3.12")


async def test_policies_have_a_greatest_length(control: Control) -> None:
    name = await control.create()
    resource = f"{ACCOUNT_ARN}:{name}"
    await control("PutResourcePolicy", ResourceArn=resource, Policy=document(name, Resource=resource + ":" + "x" * 20_200))
    permission = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "*"}
    with pytest.raises(
        PolicyLengthExceededException, match=r"The final policy size \(\d+\) is bigger than the limit \(20480\)\."
    ):
        await control("AddPermission", **permission, StatementId="one-more")
    assert "one-more" not in (await control("GetPolicy", FunctionName=name))["Policy"]


async def test_public_policies_can_be_blocked(control: Control) -> None:
    name = await control.create()
    frontend = control.settings.frontend.model_copy(update={"block_public_policies": True})
    control.context.settings = control.settings.model_copy(update={"frontend": frontend})
    request = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "*"}
    with pytest.raises(PublicPolicyException):
        await control("AddPermission", **request, StatementId="a")
    with pytest.raises(PublicPolicyException):
        await control("PutResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:{name}", Policy=document(name, Effect="Allow"))
    await control("AddPermission", **request, StatementId="a", SourceAccount="000000000000")
    await control("PutResourcePolicy", ResourceArn=f"{ACCOUNT_ARN}:{name}", Policy=document(name))


async def test_the_auth_type_of_a_url_goes_with_the_url_action_alone(control: Control) -> None:
    name = await control.create()
    request = {"FunctionName": name, "StatementId": "a", "Principal": "*", "FunctionUrlAuthType": "NONE"}
    with pytest.raises(InvalidParameterValueException, match="only supported for lambda:InvokeFunctionUrl action"):
        await control("AddPermission", **request, Action="lambda:InvokeFunction")
    await control("AddPermission", **request, Action="lambda:InvokeFunctionUrl")
