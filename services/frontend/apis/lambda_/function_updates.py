"""Changes of `$LATEST`: its code and its configuration."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import (
    code,
    deployment_trust,
    feature_rules,
    layer_attachment,
    naming,
    rendering,
    settings_rules,
)
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.dispatch.cell.retirement import Retirement
from shared.domain.arns import LATEST
from shared.domain.errors import InvalidParameterValueException, ResourceConflictException
from shared.domain.function_state import State
from shared.registry import functions, stored_packages, versions
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
    raise _in_progress(ctx, found.function.name)


def _in_progress(ctx: ControlContext, name: str) -> ResourceConflictException:
    return ResourceConflictException(
        f"The operation cannot be performed at this time. An update is in progress for resource: {naming.arn(ctx, name)}"
    )


async def update_function_code(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    found = await naming.find(ctx, name)
    feature_rules.check_available(request)
    if request.get("ImageUri") is not None:
        raise InvalidParameterValueException("Please don't provide ImageUri when updating a function with packageType Zip.")
    package = await code.package_of(ctx, request)
    origin = await deployment_trust.origin_of(ctx, package.content)
    configuration = found.version.configuration
    if architectures := request.get("Architectures"):
        configuration = msgspec.structs.replace(configuration, architecture=architectures[0])
    if request.get("DryRun"):
        naming.check_revision(request, found.version.revision_id)
        layer_attachment.check_size(configuration, package.unzipped_bytes)
        return _dry_run(ctx, found, package)
    check_settled(ctx, found)
    layer_attachment.check_size(configuration, package.unzipped_bytes)
    await code.store(ctx, package)
    published = None
    async with ctx.registry.write() as connection:
        current = await _locked(ctx, connection, name, request, found)
        signer = await deployment_trust.check_deployment(connection, name, current.function.code_signing_id, origin)
        configuration = msgspec.structs.replace(
            current.version.configuration,
            architecture=configuration.architecture,
            signing_profile=signer,
            source_kms_key_arn=request.get("SourceKMSKeyArn") or None,
        )
        layer_attachment.check_size(configuration, package.unzipped_bytes)
        stored = (package.sha256, package.size_bytes)
        latest = await functions.update_latest(connection, current, configuration=configuration, code=stored)
        if request.get("Publish"):
            published = await versions.publish(connection, latest, pending=True)
    changed = latest if published is None else published
    await _announce(ctx, name, latest, changed.function.revision)
    ctx.settle_later(latest, *(() if published is None else (published,)))
    if published is not None:
        return rendering.configuration(ctx, published, published.version.label)
    return rendering.configuration(ctx, latest, None)


def _dry_run(ctx: ControlContext, found: FunctionVersion, package: code.Package) -> Reply:
    """What the function would be like; nothing is stored."""
    version = msgspec.structs.replace(found.version, code_sha256=package.sha256, code_bytes=package.size_bytes)
    return rendering.configuration(ctx, msgspec.structs.replace(found, version=version), None)


async def update_function_configuration(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    found = await naming.find(ctx, name)
    # What is wrong with the request itself is said before what is in its way.
    settings_rules.updated(ctx, found.version.configuration, request)
    check_settled(ctx, found)
    async with ctx.registry.write() as connection:
        current = await _locked(ctx, connection, name, request, found)
        configuration = settings_rules.updated(ctx, current.version.configuration, request)
        configuration = await layer_attachment.attach(ctx, connection, configuration, request)
        if request.get("Layers"):
            signing_id = current.function.code_signing_id
            await deployment_trust.check_layers(ctx, connection, name, signing_id, configuration.layers)
        if configuration.layers:
            unzipped_bytes = await stored_packages.unzipped_bytes(connection, current.version.code_sha256)
            layer_attachment.check_size(configuration, unzipped_bytes)
        latest = await functions.update_latest(connection, current, configuration=configuration)
    await _announce(ctx, name, latest, latest.function.revision)
    ctx.settle_later(latest)
    return rendering.configuration(ctx, latest, None)


async def _announce(ctx: ControlContext, name: str, latest: FunctionVersion, revision: int) -> None:
    """What ran $LATEST as it was before is not invoked any more."""
    function = latest.function
    retired = Retirement(function.id, LATEST, latest.version.config_revision)
    await ctx.announce(name, function.id, revision, function.reserved_concurrency, retired)


async def _locked(
    ctx: ControlContext, connection: AsyncConnection, name: str, request: Request, found: FunctionVersion
) -> FunctionVersion:
    """found: what this request was checked against. Another update since then is one that this request met, whether it is
    settled by now or not: of two at once one is made and the other refused, whichever frontends they came to."""
    current = await functions.lock(connection, ctx.home, name)
    if current is None:
        raise naming.not_found(ctx, name)
    naming.check_revision(request, current.version.revision_id)
    check_settled(ctx, current)
    if current.version.config_revision != found.version.config_revision:
        raise _in_progress(ctx, name)
    return current
