"""Changes of `$LATEST`: its code and its configuration."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.control import code, deployment_trust, naming, rendering, settings_rules
from services.frontend.control.context import ControlContext, Reply, Request
from shared.domain.errors import InvalidParameterValueException, ResourceConflictException
from shared.domain.function_state import State
from shared.registry import functions, versions
from shared.registry.packages import sha256_of
from shared.registry.records import FunctionVersion


def check_settled(ctx: ControlContext, found: FunctionVersion) -> None:
    """One change at a time: raises ResourceConflictException while an earlier one is in progress."""
    status = found.version.status
    if status.settled:
        return
    if status.state is State.PENDING:
        raise ResourceConflictException(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {State.PENDING.value}"
        )
    raise ResourceConflictException(
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {naming.arn(ctx, found.function.name)}"
    )


async def update_function_code(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    found = await naming.find(ctx, name)
    if request.get("ImageUri") is not None:
        raise InvalidParameterValueException("Please don't provide ImageUri when updating a function with packageType Zip.")
    package = await code.checked_zip(request)
    configuration = found.version.configuration
    if architectures := request.get("Architectures"):
        configuration = msgspec.structs.replace(configuration, architecture=architectures[0])
    if request.get("DryRun"):
        naming.check_revision(request, found.version.revision_id)
        return await _dry_run(ctx, found, package)
    check_settled(ctx, found)
    stored = await code.store(ctx, package)
    published = None
    async with ctx.registry.write() as connection:
        current = await _locked(ctx, connection, name, request)
        await deployment_trust.check_deployment(connection, name, current.function.code_signing_id)
        configuration = msgspec.structs.replace(current.version.configuration, architecture=configuration.architecture)
        latest = await functions.update_latest(connection, current, configuration=configuration, code=stored)
        if request.get("Publish"):
            published = await versions.publish(connection, latest, pending=True)
    changed = latest if published is None else published
    await ctx.announce(name, latest.function.id, changed.function.revision, latest.function.reserved_concurrency)
    ctx.settle_later(latest, *(() if published is None else (published,)))
    if published is not None:
        return rendering.configuration(ctx, published, published.version.label)
    return rendering.configuration(ctx, latest, None)


async def _dry_run(ctx: ControlContext, found: FunctionVersion, package: bytes) -> Reply:
    """What the function would be like; nothing is stored."""
    version = msgspec.structs.replace(found.version, code_sha256=await sha256_of(package), code_bytes=len(package))
    return rendering.configuration(ctx, msgspec.structs.replace(found, version=version), None)


async def update_function_configuration(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    found = await naming.find(ctx, name)
    settings_rules.updated(ctx, found.version.configuration, request)
    check_settled(ctx, found)
    async with ctx.registry.write() as connection:
        current = await _locked(ctx, connection, name, request)
        configuration = settings_rules.updated(ctx, current.version.configuration, request)
        if request.get("Layers"):
            await deployment_trust.check_deployment(connection, name, current.function.code_signing_id)
        latest = await functions.update_latest(connection, current, configuration=configuration)
    await ctx.announce(name, latest.function.id, latest.function.revision, latest.function.reserved_concurrency)
    ctx.settle_later(latest)
    return rendering.configuration(ctx, latest, None)


async def _locked(ctx: ControlContext, connection: AsyncConnection, name: str, request: Request) -> FunctionVersion:
    current = await functions.lock(connection, name)
    if current is None:
        raise naming.not_found(ctx, name)
    naming.check_revision(request, current.version.revision_id)
    check_settled(ctx, current)
    return current
