"""Function URLs: one of a function and one of each of its aliases."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from services.frontend.apis.lambda_ import naming, package_links, pages
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST
from shared.domain.errors import InvalidParameterValueException, ResourceConflictException, ResourceNotFoundException
from shared.domain.function_urls import BUFFERED, Cors, FunctionUrl, UrlHosts, new_url_id
from shared.registry import aliases, function_urls, functions

MISSING = "The resource you requested does not exist."
NO_FUNCTION = "Function does not exist"


async def create_function_url_config(ctx: ControlContext, request: Request) -> Reply:
    """Shows InvokeMode only when it was asked for, as AWS."""
    name, qualifier = naming.named(ctx, request)
    now_us = function_urls.now_us()
    async with ctx.registry.write() as connection:
        found = await functions.lock(connection, ctx.home, name)
        if found is None or (qualifier and await aliases.find(connection, found.function.id, qualifier) is None):
            raise ResourceNotFoundException(NO_FUNCTION)
        url = FunctionUrl(
            function_id=found.function.id,
            qualifier=qualifier or LATEST,
            url_id=new_url_id(ctx.settings.cluster_secret.get_secret_value().encode()),
            auth_type=request["AuthType"],
            invoke_mode=request.get("InvokeMode") or BUFFERED,
            cors=_cors(request, None),
            created_us=now_us,
            modified_us=now_us,
        )
        if not await function_urls.create(connection, url):
            raise ResourceConflictException(
                f"Failed to create function url config for [functionArn = {naming.arn(ctx, name, qualifier)}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
    await ctx.url_changed(url.function_id)
    reply = _reply(ctx, name, url)
    del reply["LastModifiedTime"]
    return reply if request.get("InvokeMode") else _without_mode(reply)


async def get_function_url_config(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.read() as connection:
        url = await function_urls.find(connection, ctx.home, name, qualifier or LATEST)
    if url is None:
        raise ResourceNotFoundException(MISSING)
    return _reply(ctx, name, url)


async def list_function_url_configs(ctx: ControlContext, request: Request) -> Reply:
    name, _ = naming.named(ctx, request)
    limit = pages.size(request)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        found, more = pages.cut(await function_urls.page(connection, ctx.home, name, after, limit + 1), limit)
        if not found and not await functions.exists(connection, ctx.home, name):
            raise ResourceNotFoundException(NO_FUNCTION)
    reply: Reply = {"FunctionUrlConfigs": [_reply(ctx, name, url) for url in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].qualifier)
    return reply


async def update_function_url_config(ctx: ControlContext, request: Request) -> Reply:
    """What is left out stays; Cors is replaced as a whole."""
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.write() as connection:
        found = await functions.lock(connection, ctx.home, name)
        if found is None or (qualifier and await aliases.find(connection, found.function.id, qualifier) is None):
            raise ResourceNotFoundException(NO_FUNCTION)
        url = await function_urls.find(connection, ctx.home, name, qualifier or LATEST)
        if url is None:
            raise ResourceNotFoundException(MISSING)
        url = msgspec.structs.replace(
            url,
            auth_type=request.get("AuthType") or url.auth_type,
            invoke_mode=request.get("InvokeMode") or url.invoke_mode,
            cors=_cors(request, url.cors),
            # A clock that was set back must not make a URL older than it was.
            modified_us=max(function_urls.now_us(), url.modified_us + 1),
        )
        await function_urls.replace(connection, url)
    await ctx.url_changed(url.function_id)
    reply = _reply(ctx, name, url)
    return reply if request.get("InvokeMode") else _without_mode(reply)


async def delete_function_url_config(ctx: ControlContext, request: Request) -> Reply:
    """The function's policy stays, and so do the URLs of its aliases."""
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.write() as connection:
        found = await functions.lock(connection, ctx.home, name)
        if found is None or not await function_urls.remove(connection, found.function.id, qualifier or LATEST):
            raise ResourceNotFoundException(MISSING)
    await ctx.url_changed(found.function.id)
    return {}


def _cors(request: Request, current: Cors | None) -> Cors | None:
    """With an empty Cors there is none any more. Raises InvalidParameterValueException."""
    given = request.get("Cors")
    if given is None:
        return current
    if not given:
        return None
    if not given.get("AllowOrigins"):
        raise InvalidParameterValueException("You can't leave AllowOrigins as empty when Cors is enabled.")
    return msgspec.convert(given, Cors)


def _reply(ctx: ControlContext, name: str, url: FunctionUrl) -> Reply:
    hosts = UrlHosts(ctx.settings.frontend.domain)
    reply: Reply = {
        "FunctionUrl": hosts.url(url.url_id, ctx.home.region, _port(ctx)),
        "FunctionArn": naming.arn(ctx, name, None if url.qualifier == LATEST else url.qualifier),
        "AuthType": url.auth_type,
    }
    if url.cors is not None:
        reply["Cors"] = url.cors.members()
    return reply | {
        "CreationTime": _timestamp(url.created_us),
        "LastModifiedTime": _timestamp(url.modified_us),
        "InvokeMode": url.invoke_mode,
    }


def _without_mode(reply: Reply) -> Reply:
    del reply["InvokeMode"]
    return reply


def _port(ctx: ControlContext) -> int:
    """The port that the client itself uses: a published or forwarded one may be another than ours."""
    endpoint = package_links.endpoint.get()
    try:
        port = None if endpoint is None else urlsplit(endpoint).port
    except ValueError:
        port = None
    if port is None:
        return ctx.settings.frontend.port if endpoint is None else 80
    return port


def _timestamp(unix_us: int) -> str:
    """As in 2026-11-22T08:00:00.123456Z."""
    moment = datetime.fromtimestamp(unix_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_us % 1_000_000:06d}Z"
