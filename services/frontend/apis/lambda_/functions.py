"""Functions: create, read, list, delete."""

from __future__ import annotations

import uuid

import msgspec

from services.frontend.apis.lambda_ import (
    code,
    code_signing,
    default_architecture,
    deployment_trust,
    layer_attachment,
    naming,
    package_links,
    pages,
    rendering,
    settings_rules,
    tag_rules,
)
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.dispatch.cell.retirement import Retirement
from shared.domain.arns import LATEST, is_version
from shared.domain.errors import InvalidParameterValueException, ResourceConflictException
from shared.domain.function_state import CREATED
from shared.registry import functions, versions
from shared.registry.functions import new_revision_id, now_ms
from shared.registry.records import Function, FunctionVersion, Version


async def create_function(ctx: ControlContext, request: Request) -> Reply:
    name = naming.new_name(ctx, request)
    configuration = await default_architecture.chosen(ctx, settings_rules.created(ctx, name, request), request)
    tags = tag_rules.merged({}, request.get("Tags") or {})
    package = await code.package_of(ctx, request["Code"])
    signing_arn = request.get("CodeSigningConfigArn")
    origin = await deployment_trust.origin_of(ctx, package.content)
    await code.store(ctx, package)
    wanted = Function(uuid.uuid4().hex, ctx.home.region, name, 0, 0, None, configuration.dead_letter_arn, tags)
    async with ctx.registry.write() as connection:
        configuration = await layer_attachment.attach(ctx, connection, configuration, request)
        configuration = msgspec.structs.replace(
            configuration, source_kms_key_arn=request["Code"].get("SourceKMSKeyArn") or None
        )
        if signing_arn is not None:
            signing = await code_signing.attachable(ctx, connection, signing_arn)
            wanted = msgspec.structs.replace(wanted, code_signing_id=signing.id)
            signer = deployment_trust.check(name, signing, origin)
            configuration = msgspec.structs.replace(configuration, signing_profile=signer)
            await deployment_trust.check_layers(ctx, connection, name, signing.id, configuration.layers)
        layer_attachment.check_size(configuration, package.unzipped_bytes)
        function = await functions.create(connection, wanted)
        if function is None:
            raise ResourceConflictException(f"Function already exist: {name}")
        latest = Version(
            function_id=function.id,
            number=0,
            code_sha256=package.sha256,
            code_bytes=package.size_bytes,
            configuration=configuration,
            config_revision=function.revision,
            revision_id=new_revision_id(),
            status=CREATED,
            failure="",
            modified_ms=now_ms(),
            source_digest="",
        )
        await functions.insert_version(connection, latest)
        found = made = FunctionVersion(function, latest)
        if request.get("Publish"):
            made = await versions.publish(connection, found, pending=True)
    ctx.settle_later(found, *(() if made is found else (made,)))
    return rendering.configuration(ctx, made, None)


async def get_function(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    found = await naming.find(ctx, name, qualifier)
    reply: Reply = {
        "Configuration": rendering.configuration(ctx, found, qualifier),
        "Code": {"RepositoryType": "S3", "Location": package_links.sign(ctx.settings, found.version.code_sha256)},
    }
    if found.version.configuration.source_kms_key_arn:
        reply["Code"]["SourceKMSKeyArn"] = found.version.configuration.source_kms_key_arn
    if found.function.tags:
        reply["Tags"] = found.function.tags
    if found.function.reserved_concurrency is not None:
        reply["Concurrency"] = {"ReservedConcurrentExecutions": found.function.reserved_concurrency}
    return reply


async def get_function_configuration(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    return rendering.configuration(ctx, await naming.find(ctx, name, qualifier), qualifier)


async def list_functions(ctx: ControlContext, request: Request) -> Reply:
    limit = pages.size(request)
    if request.get("FunctionVersion") == "ALL":
        return await _list_all_versions(ctx, request, limit)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        found, more = pages.cut(await functions.page(connection, ctx.home, after, limit + 1), limit)
    reply: Reply = {"Functions": [rendering.listed(ctx, one, None) for one in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].function.name)
    return reply


async def _list_all_versions(ctx: ControlContext, request: Request, limit: int) -> Reply:
    after = pages.after(request, tuple[str, int], ("", -1))
    async with ctx.registry.read() as connection:
        found, more = pages.cut(await functions.page_all_versions(connection, ctx.home, after, limit + 1), limit)
    reply: Reply = {"Functions": [rendering.listed(ctx, one, one.version.label) for one in found]}
    if more:
        reply["NextMarker"] = pages.marker((found[-1].function.name, found[-1].version.number))
    return reply


async def delete_function(ctx: ControlContext, request: Request) -> Reply:
    """Of a function all is deleted but its event source mappings; with a version as qualifier, that version alone."""
    name, qualifier = naming.named(ctx, request)
    if qualifier == LATEST:
        raise InvalidParameterValueException(f"{LATEST} version cannot be deleted without deleting the function.")
    if qualifier is not None:
        await _delete_version(ctx, name, qualifier)
        return {"StatusCode": 204}
    async with ctx.registry.write() as connection:
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise naming.not_found(ctx, name)
        revision = await functions.remove(connection, current.function.id)
    await ctx.announce(name, current.function.id, revision, None, Retirement(current.function.id))
    if current.function.reserved_concurrency is not None:
        await ctx.announce_account()
    return {"StatusCode": 204}


async def _delete_version(ctx: ControlContext, name: str, qualifier: str) -> None:
    """Does nothing, as AWS, when the function has no such version."""
    number = functions.parse_number(qualifier) or -1
    async with ctx.registry.write() as connection:
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise naming.not_found(ctx, name)
        if not is_version(qualifier):
            raise InvalidParameterValueException("Deletion of aliases is not currently supported.")
        function = current.function
        aliases = await versions.referring_aliases(connection, function.id, number)
        if aliases:
            raise ResourceConflictException(
                f"Unable to delete version because the following aliases reference it: [{', '.join(aliases)}]"
            )
        if not await versions.remove(connection, function.id, number):
            return
        revision = await functions.touch(connection, function.id)
    await ctx.announce(name, function.id, revision, function.reserved_concurrency, Retirement(function.id, str(number)))
