"""Layers: publish, read, list, delete. A version never changes and its number is never given again."""

from __future__ import annotations

import base64

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import code, layer_naming, package_links, pages
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from services.frontend.apis.lambda_.rendering import timestamp
from shared.domain.errors import ResourceNotFoundException
from shared.registry import layers
from shared.registry.layers import LayerVersion

NOT_THERE = "The resource you requested does not exist."


async def publish_layer_version(ctx: ControlContext, request: Request) -> Reply:
    """Each call makes a version, equal content or not."""
    name = layer_naming.named(ctx, request["LayerName"])
    package = await code.package_of(ctx, request.get("Content") or {}, of_layer=True)
    await code.store(ctx, package)
    runtimes, architectures = request.get("CompatibleRuntimes"), request.get("CompatibleArchitectures")
    async with ctx.registry.write() as connection:
        layer = await layers.publish(
            connection,
            ctx.home,
            LayerVersion(
                name=name,
                number=0,
                code_sha256=package.sha256,
                code_bytes=package.size_bytes,
                unzipped_bytes=package.unzipped_bytes,
                description=request.get("Description") or "",
                license_info=request.get("LicenseInfo"),
                compatible_runtimes=None if runtimes is None else tuple(runtimes),
                compatible_architectures=None if architectures is None else tuple(architectures),
                created_ms=0,
            ),
        )
    return _reply(ctx, layer)


async def get_layer_version(ctx: ControlContext, request: Request) -> Reply:
    name, number = layer_naming.named_version(ctx, request)
    return await _read(ctx, name, number)


async def get_layer_version_by_arn(ctx: ControlContext, request: Request) -> Reply:
    name, number = layer_naming.version_of_arn(ctx, request["Arn"])
    return await _read(ctx, name, number)


async def _read(ctx: ControlContext, name: str, number: int) -> Reply:
    async with ctx.registry.read() as connection:
        found = await find(ctx, connection, name, number)
    if found is None:
        raise ResourceNotFoundException(NOT_THERE)
    return _reply(ctx, found)


async def find(ctx: ControlContext, connection: AsyncConnection, name: str, number: int) -> LayerVersion | None:
    if number > layer_naming.NUMBER_MAX:
        return None
    found = await layers.find(connection, ctx.home, name, number)
    return None if found is None else found.layer


async def list_layers(ctx: ControlContext, request: Request) -> Reply:
    """Each layer with the newest of its versions that fits; layers of which none fits are left out."""
    limit = pages.size(request)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        items = await layers.page(
            connection, ctx.home, after, limit + 1, request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
        )
    found, more = pages.cut(items, limit)
    reply: Reply = {
        "Layers": [
            {
                "LayerName": layer.name,
                "LayerArn": layer_naming.arn(ctx, layer.name),
                "LatestMatchingVersion": _listed(ctx, layer),
            }
            for layer in found
        ]
    }
    if more:
        reply["NextMarker"] = pages.marker(found[-1].name)
    return reply


async def list_layer_versions(ctx: ControlContext, request: Request) -> Reply:
    """The newest first. An unknown layer has no versions, which is no error."""
    name = layer_naming.named(ctx, request["LayerName"])
    limit = pages.size(request)
    before = min(pages.after(request, int, layer_naming.NUMBER_MAX), layer_naming.NUMBER_MAX)
    async with ctx.registry.read() as connection:
        items = await layers.page_of_versions(
            connection,
            ctx.home,
            name,
            before,
            limit + 1,
            request.get("CompatibleRuntime"),
            request.get("CompatibleArchitecture"),
        )
    found, more = pages.cut(items, limit)
    reply: Reply = {"LayerVersions": [_listed(ctx, layer) for layer in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].number)
    return reply


async def delete_layer_version(ctx: ControlContext, request: Request) -> Reply:
    """Succeeds, as on AWS, when there is no such version. Functions that have it go on with it."""
    name, number = layer_naming.named_version(ctx, request)
    if number <= layer_naming.NUMBER_MAX:
        async with ctx.registry.write() as connection:
            await layers.remove(connection, ctx.home, name, number)
    return {}


def _reply(ctx: ControlContext, layer: LayerVersion) -> Reply:
    content = {
        "Location": package_links.sign(ctx.settings, layer.code_sha256),
        "CodeSha256": base64.b64encode(bytes.fromhex(layer.code_sha256)).decode(),
        "CodeSize": layer.code_bytes,
    }
    return {"Content": content, "LayerArn": layer_naming.arn(ctx, layer.name), **_listed(ctx, layer)}


def _listed(ctx: ControlContext, layer: LayerVersion) -> Reply:
    return {
        "LayerVersionArn": layer_naming.arn(ctx, layer.name, layer.number),
        "Version": layer.number,
        "Description": layer.description,
        "CreatedDate": timestamp(layer.created_ms),
        "CompatibleArchitectures": layer.compatible_architectures,
        "CompatibleRuntimes": layer.compatible_runtimes,
        "LicenseInfo": layer.license_info,
    }
