"""Mobile applications and their endpoints, as far as they are remembered: nothing is pushed from here."""

from __future__ import annotations

import re
import uuid

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.sns.context import Reply, SnsContext
from services.frontend.apis.sns.errors import (
    EndpointDisabledException,
    InvalidParameterException,
    NotFoundException,
    ValidationErrorException,
    invalid,
)
from services.frontend.apis.sns.naming import parts_of, require_own
from services.frontend.apis.sns.pages import PAGE_ITEMS, after, next_token
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.registry import sns_platforms
from shared.registry.sns_platforms import Application, Endpoint

PLATFORMS = (
    "ADM",
    "APNS",
    "APNS_SANDBOX",
    "APNS_VOIP",
    "APNS_VOIP_SANDBOX",
    "BAIDU",
    "FCM",
    "GCM",
    "MACOS",
    "MACOS_SANDBOX",
    "MPNS",
    "WNS",
)
NAME_CHARACTERS_MAX = 256
USER_DATA_BYTES_MAX = 2_048
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_APPLICATION = re.compile(r"app/([A-Z_]{1,32})/([A-Za-z0-9_.-]{1,256})")
_ENDPOINT = re.compile(r"endpoint/([A-Z_]{1,32})/([A-Za-z0-9_.-]{1,256})/([0-9a-f-]{36})")
_SECRETS = frozenset({"PlatformCredential", "PlatformPrincipal", "ApplePlatformTeamID", "ApplePlatformBundleID"})
_APPLICATION_ATTRIBUTES = _SECRETS | {
    "AllowEndpointPolicies", "Enabled", "EventDeliveryFailure", "EventEndpointCreated", "EventEndpointDeleted",
    "EventEndpointUpdated", "FailureFeedbackRoleArn", "SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate",
}  # fmt: skip
_ENDPOINT_ATTRIBUTES = ("CustomUserData", "Enabled", "Token")


async def create_platform_application(ctx: SnsContext, call: Call, params: Params) -> Reply:
    name, platform, given = params["Name"], params["Platform"], params["Attributes"]
    if not name:
        raise invalid("", "cannot be empty")
    if len(name) > NAME_CHARACTERS_MAX:
        raise invalid(name, f"must be at most {NAME_CHARACTERS_MAX} characters long")
    if _NAME.fullmatch(name) is None:
        raise invalid(name, "must contain only characters 'a'-'z', 'A'-'Z', '0'-'9', '_', '-', and '.'")
    if platform not in PLATFORMS:
        raise invalid("Platform", f"{platform} is not supported")
    _check_application(given)
    found = Application(call.home, platform, name, {"Enabled": "true", **given})
    async with ctx.registry.write() as connection:
        await sns_platforms.put_application(connection, found)
    return {"PlatformApplicationArn": found.arn}


def _check_application(given: dict[str, str]) -> None:
    for name in given:
        if name not in _APPLICATION_ATTRIBUTES:
            raise invalid("Attributes", f"Invalid attribute name: {name}")


async def get_platform_application_attributes(ctx: SnsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.write() as connection:
        found = await _application(connection, call, params["PlatformApplicationArn"])
    return {"Attributes": _shown(found)}


async def set_platform_application_attributes(ctx: SnsContext, call: Call, params: Params) -> None:
    given = _given(params)
    async with ctx.registry.write() as connection:
        found = await _application(connection, call, params["PlatformApplicationArn"])
        _check_application(given)
        changed = msgspec.structs.replace(found, attributes={**found.attributes, **given})
        await sns_platforms.put_application(connection, changed)


async def delete_platform_application(ctx: SnsContext, call: Call, params: Params) -> None:
    platform, name = _application_named(call, params["PlatformApplicationArn"])
    async with ctx.registry.write() as connection:
        await sns_platforms.remove_application(connection, call.home, platform, name)


async def list_platform_applications(ctx: SnsContext, call: Call, params: Params) -> Reply:
    platform, _, name = after(params).partition("/")
    async with ctx.registry.read() as connection:
        found = await sns_platforms.applications(connection, call.home, (platform, name), PAGE_ITEMS + 1)
    shown = found[:PAGE_ITEMS]
    last = f"{shown[-1].platform}/{shown[-1].name}" if len(found) > PAGE_ITEMS else None
    listed = [{"PlatformApplicationArn": one.arn, "Attributes": _shown(one)} for one in shown]
    return {"PlatformApplications": listed, "NextToken": next_token(last)}


def _shown(found: Application) -> dict[str, str]:
    """Credentials are never told."""
    return {name: value for name, value in found.attributes.items() if name not in _SECRETS}


async def create_platform_endpoint(ctx: SnsContext, call: Call, params: Params) -> Reply:
    """The same token again with the same attributes is the same endpoint."""
    given = dict(params.get("Attributes") or {})
    if params.get("CustomUserData"):
        given["CustomUserData"] = params["CustomUserData"]
    token = params["Token"]
    async with ctx.registry.write() as connection:
        owner = await _application(connection, call, params["PlatformApplicationArn"])
        _check_endpoint(given)
        if not token:
            raise invalid("Token")
        asked = {"Enabled": "true", "Token": token, **given}
        found = await sns_platforms.endpoint_with(connection, owner, token)
        if found is None:
            found = Endpoint(str(uuid.uuid4()), owner.home, owner.platform, owner.name, asked)
            await sns_platforms.create_endpoint(connection, found)
        elif found.attributes != asked:
            raise invalid("Token", f"Endpoint {found.arn} already exists with the same Token, but different attributes.")
    return {"EndpointArn": found.arn}


def _check_endpoint(given: dict[str, str]) -> None:
    for name, value in given.items():
        if name not in _ENDPOINT_ATTRIBUTES:
            raise invalid("Attributes", f"Invalid attribute name: {name}")
        if name == "CustomUserData" and len(value.encode()) > USER_DATA_BYTES_MAX:
            raise invalid(
                "Attributes",
                "Invalid value for attribute: CustomUserData: "
                f"must be at most {USER_DATA_BYTES_MAX} bytes long in UTF-8 encoding",
            )
        if name == "Enabled" and value.lower() not in ("true", "false"):
            raise invalid("Attributes", "Invalid value for attribute: Enabled: must be true or false")


async def get_endpoint_attributes(ctx: SnsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.write() as connection:
        found = await _endpoint(connection, call, params["EndpointArn"])
    return {"Attributes": found.attributes}


async def set_endpoint_attributes(ctx: SnsContext, call: Call, params: Params) -> None:
    given = _given(params)
    async with ctx.registry.write() as connection:
        found = await _endpoint(connection, call, params["EndpointArn"])
        _check_endpoint(given)
        changed = msgspec.structs.replace(found, attributes={**found.attributes, **given})
        if changed.attributes["Token"] != found.attributes["Token"]:
            owner = Application(found.home, found.platform, found.application, {})
            if await sns_platforms.endpoint_with(connection, owner, changed.attributes["Token"]) is not None:
                raise invalid("Token", "another endpoint has this Token")
        await sns_platforms.set_endpoint(connection, changed)


async def delete_endpoint(ctx: SnsContext, call: Call, params: Params) -> None:
    """Subscriptions to it stay."""
    identity = _endpoint_named(call, params["EndpointArn"])
    async with ctx.registry.write() as connection:
        await sns_platforms.remove_endpoint(connection, call.home, identity)


async def list_endpoints_by_platform_application(ctx: SnsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.write() as connection:
        owner = await _application(connection, call, params["PlatformApplicationArn"])
        found = await sns_platforms.endpoints(connection, owner, after(params), PAGE_ITEMS + 1)
    shown = found[:PAGE_ITEMS]
    last = shown[-1].id if len(found) > PAGE_ITEMS else None
    return {
        "Endpoints": [{"EndpointArn": one.arn, "Attributes": one.attributes} for one in shown],
        "NextToken": next_token(last),
    }


async def require_enabled(ctx: SnsContext, call: Call, arn: str) -> None:
    """Raises InvalidParameterException where there is no such endpoint, EndpointDisabledException."""
    try:
        async with ctx.registry.write() as connection:
            found = await _endpoint(connection, call, arn, "TargetArn")
    except NotFoundException:
        raise invalid("TargetArn", "No endpoint found for the target arn specified") from None
    if found.attributes.get("Enabled", "true").lower() != "true":
        raise EndpointDisabledException("Endpoint is disabled")


def _given(params: Params) -> dict[str, str]:
    """An empty map is none in the query protocol."""
    given: dict[str, str] = params.get("Attributes") or {}
    if not given:
        raise ValidationErrorException(
            "1 validation error detected: Value null at 'attributes' failed to satisfy constraint: Member must not be null"
        )
    return given


def _application_named(call: Call, arn: str) -> tuple[str, str]:
    home, rest = parts_of(arn, "PlatformApplicationArn")
    found = _APPLICATION.fullmatch(rest)
    if found is None or home.region != call.home.region:
        raise InvalidParameterException(
            "Invalid parameter: PlatformApplicationArn Reason: Wrong number of slashes in relative portion of the ARN."
        )
    require_own(call, home, arn, "this action")
    return found[1], found[2]


async def _application(connection: AsyncConnection, call: Call, arn: str) -> Application:
    platform, name = _application_named(call, arn)
    found = await sns_platforms.application(connection, call.home, platform, name)
    if found is None:
        raise NotFoundException("PlatformApplication does not exist")
    return found


def _endpoint_named(call: Call, arn: str, parameter: str = "EndpointArn") -> str:
    home, rest = parts_of(arn, parameter)
    found = _ENDPOINT.fullmatch(rest)
    if found is None or home.region != call.home.region:
        raise InvalidParameterException(
            f"Invalid parameter: {parameter} Reason: Wrong number of slashes in relative portion of the ARN."
        )
    require_own(call, home, arn, "this action")
    return found[3]


async def _endpoint(connection: AsyncConnection, call: Call, arn: str, parameter: str = "EndpointArn") -> Endpoint:
    identity = _endpoint_named(call, arn, parameter)
    found = await sns_platforms.endpoint(connection, call.home, identity)
    if found is None:
        raise NotFoundException("Endpoint does not exist")
    return found
