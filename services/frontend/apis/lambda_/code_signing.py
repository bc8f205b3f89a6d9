"""Code signing configurations: who may have signed the code of the functions that use one, and what happens otherwise."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import naming, pages, tag_rules
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from services.frontend.apis.lambda_.rendering import timestamp
from shared.domain.arns import Home, code_signing_arn
from shared.domain.errors import (
    CodeSigningConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.registry import code_signing, functions
from shared.registry.code_signing import CodeSigningConfig
from shared.registry.functions import now_ms

POLICY_DEFAULT = "Warn"


async def create_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    config = CodeSigningConfig(
        id=code_signing.new_id(),
        description=request.get("Description") or "",
        publishers=_publishers(request) or (),
        policy=_policy(request) or POLICY_DEFAULT,
        tags=tag_rules.merged({}, request.get("Tags") or {}),
        modified_ms=now_ms(),
    )
    async with ctx.registry.write() as connection:
        await code_signing.create(connection, ctx.home, config)
    return {"CodeSigningConfig": _shown(ctx, config)}


async def get_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    async with ctx.registry.read() as connection:
        config = await _existing(ctx, connection, request)
    return {"CodeSigningConfig": _shown(ctx, config)}


async def update_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    """What is not sent stays; the functions that use it are checked anew when code is next deployed to them."""
    async with ctx.registry.write() as connection:
        config = await code_signing.lock(connection, identity(ctx, request["CodeSigningConfigArn"]))
        if config is None:
            raise _no_config(request)
        description = request.get("Description")
        config = msgspec.structs.replace(
            config,
            description=config.description if description is None else description,
            publishers=_publishers(request) or config.publishers,
            policy=_policy(request) or config.policy,
            modified_ms=now_ms(),
        )
        await code_signing.replace(connection, config)
    return {"CodeSigningConfig": _shown(ctx, config)}


async def delete_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    async with ctx.registry.write() as connection:
        config = await code_signing.lock(connection, identity(ctx, request["CodeSigningConfigArn"]))
        if config is None:
            raise _no_config(request)
        if await code_signing.users(connection, config.id, "", 1):
            raise ResourceConflictException(
                f"The Lambda code signing configuration {request['CodeSigningConfigArn']} can not be deleted: "
                "functions use it. Remove it from them first."
            )
        await code_signing.remove(connection, config.id)
    return {}


async def list_code_signing_configs(ctx: ControlContext, request: Request) -> Reply:
    limit = pages.size(request)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        found, more = pages.cut(await code_signing.page(connection, ctx.home, after, limit + 1), limit)
    reply: Reply = {"CodeSigningConfigs": [_shown(ctx, config) for config in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].id)
    return reply


async def list_functions_by_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    limit = pages.size(request)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        config = await _existing(ctx, connection, request)
        found, more = pages.cut(await code_signing.users(connection, config.id, after, limit + 1), limit)
    reply: Reply = {"FunctionArns": [naming.arn(ctx, name) for name in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1])
    return reply


async def put_function_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    """Takes effect when code is next deployed. The configuration is looked for before the function."""
    arn = request["CodeSigningConfigArn"]
    name = naming.named_unqualified(ctx, request)
    async with ctx.registry.write() as connection:
        config = await attachable(ctx, connection, arn)
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise naming.not_found(ctx, name)
        await code_signing.attach(connection, current.function.id, config.id)
    return {"CodeSigningConfigArn": arn, "FunctionName": name}


async def get_function_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    used = (await naming.find(ctx, name)).function.code_signing_id
    return {} if used is None else {"CodeSigningConfigArn": _arn(ctx, used), "FunctionName": name}


async def delete_function_code_signing_config(ctx: ControlContext, request: Request) -> Reply:
    """Succeeds when the function has none."""
    name = naming.named_unqualified(ctx, request)
    async with ctx.registry.write() as connection:
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise naming.not_found(ctx, name)
        await code_signing.attach(connection, current.function.id, None)
    return {}


async def attachable(ctx: ControlContext, connection: AsyncConnection, arn: str) -> CodeSigningConfig:
    """A configuration that a function is about to use, kept from going away. Raises CodeSigningConfigNotFoundException."""
    config = await code_signing.share(connection, identity(ctx, arn))
    if config is None:
        raise CodeSigningConfigNotFoundException(
            f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
        )
    return config


def identity(ctx: ControlContext, arn: str) -> str:
    """The id in an ARN; empty, which no configuration has, for another account's or region's."""
    _, _, _, region, account, _, found = arn.split(":", 6)
    return found if Home(account, region) == ctx.home else ""


async def _existing(ctx: ControlContext, connection: AsyncConnection, request: Request) -> CodeSigningConfig:
    config = await code_signing.find(connection, identity(ctx, request["CodeSigningConfigArn"]))
    if config is None:
        raise _no_config(request)
    return config


def _no_config(request: Request) -> ResourceNotFoundException:
    """AWS leaves the Type out of this body."""
    error = ResourceNotFoundException(
        f"The Lambda code signing configuration {request['CodeSigningConfigArn']} can not be found."
    )
    error.fault = None
    return error


def _publishers(request: Request) -> tuple[str, ...] | None:
    sent = request.get("AllowedPublishers")
    return None if sent is None else tuple(sent["SigningProfileVersionArns"])


def _policy(request: Request) -> str | None:
    found: str | None = (request.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment")
    return found


def _arn(ctx: ControlContext, config_id: str) -> str:
    return code_signing_arn(ctx.home, config_id)


def _shown(ctx: ControlContext, config: CodeSigningConfig) -> Reply:
    return {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": _arn(ctx, config.id),
        "Description": config.description,
        "AllowedPublishers": {"SigningProfileVersionArns": list(config.publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": timestamp(config.modified_ms),
    }
