"""Aliases, plain and weighted."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import naming, pages, provisioned
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST
from shared.domain.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.registry import aliases, functions, versions
from shared.registry.functions import new_revision_id
from shared.registry.records import Alias, Function


async def create_alias(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    async with ctx.registry.write() as connection:
        function = await _locked(ctx, connection, name)
        alias = Alias(
            function_id=function.id,
            name=request["Name"],
            version=_number(request["FunctionVersion"]),
            description=request.get("Description") or "",
            revision_id=new_revision_id(),
        )
        alias = _routed(alias, request)
        await _check_versions(ctx, connection, function, alias)
        revision = await aliases.create(connection, alias)
    if revision is None:
        raise ResourceConflictException(f"Alias already exists: {naming.arn(ctx, name, alias.name)}")
    await ctx.announce(name, function.id, revision, function.reserved_concurrency)
    return _reply(ctx, name, alias)


async def get_alias(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    async with ctx.registry.read() as connection:
        found = await functions.find(connection, ctx.home, name)
        alias = None if found is None else await aliases.find(connection, found.function.id, request["Name"])
    if alias is None:
        raise ResourceNotFoundException(f"Cannot find alias arn: {naming.arn(ctx, name, request['Name'])}")
    return _reply(ctx, name, alias)


async def list_aliases(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    limit = pages.size(request)
    after = pages.after(request, str, "")
    version = request.get("FunctionVersion")
    async with ctx.registry.read() as connection:
        function = await functions.find(connection, ctx.home, name)
        if function is None:
            raise naming.not_found(ctx, name)
        number = None if version is None else _number(version)
        items = await aliases.page(connection, function.function.id, after, limit + 1, number)
    found, more = pages.cut(items, limit)
    reply: Reply = {"Aliases": [_reply(ctx, name, alias) for alias in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].name)
    return reply


async def update_alias(ctx: ControlContext, request: Request) -> Reply:
    """Even a change of nothing gives the alias a new RevisionId."""
    name = naming.named_unqualified(ctx, request)
    async with ctx.registry.write() as connection:
        function = await _locked(ctx, connection, name)
        alias = await aliases.find(connection, function.id, request["Name"])
        if alias is None:
            raise ResourceNotFoundException(f"Alias not found: {naming.arn(ctx, name, request['Name'])}")
        before = alias
        if request.get("RevisionId") not in (None, alias.revision_id):
            raise PreconditionFailedException(naming.REVISION_MISMATCH)
        if request.get("FunctionVersion") is not None:
            alias = msgspec.structs.replace(alias, version=_number(request["FunctionVersion"]))
        if request.get("Description") is not None:
            alias = msgspec.structs.replace(alias, description=request["Description"])
        alias = _routed(alias, request)
        await _check_versions(ctx, connection, function, alias)
        alias, revision = await aliases.replace(connection, alias)
        if _places(alias) != _places(before):
            await provisioned.follow(connection, alias, revision)
    await ctx.announce(name, function.id, revision, function.reserved_concurrency)
    return _reply(ctx, name, alias)


async def delete_alias(ctx: ControlContext, request: Request) -> Reply:
    """Succeeds, as on AWS, when there is no such alias."""
    name = naming.named_unqualified(ctx, request)
    async with ctx.registry.write() as connection:
        function = await _locked(ctx, connection, name)
        revision = await aliases.remove(connection, function.id, request["Name"])
    if revision is not None:
        await ctx.announce(name, function.id, revision, function.reserved_concurrency)
    return {}


def _places(alias: Alias) -> tuple[int, int | None, float | None]:
    return alias.version, alias.additional_version, alias.additional_weight


async def _locked(ctx: ControlContext, connection: AsyncConnection, name: str) -> Function:
    found = await functions.lock(connection, ctx.home, name)
    if found is None:
        raise naming.not_found(ctx, name)
    return found.function


def _number(version: str) -> int:
    """-1, which no version has, for a number that none can have."""
    number = functions.parse_number(version)
    return -1 if number is None else number


def _label(number: int) -> str:
    return LATEST if number == 0 else str(number)


def _routed(alias: Alias, request: Request) -> Alias:
    """With the request's weights: an empty map takes them away, none at all leaves them.

    Raises InvalidParameterValueException.
    """
    routing = request.get("RoutingConfig")
    if routing is None:
        return alias
    weights = routing.get("AdditionalVersionWeights") or {}
    if len(weights) > 1:
        raise InvalidParameterValueException("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for version, weight in weights.items():
        return msgspec.structs.replace(alias, additional_version=_number(version), additional_weight=weight)
    return msgspec.structs.replace(alias, additional_version=None, additional_weight=None)


async def _check_versions(ctx: ControlContext, connection: AsyncConnection, function: Function, alias: Alias) -> None:
    """Both versions exist, are different, and `$LATEST` is not one of two."""
    if await versions.find(connection, function.id, alias.version) is None:
        raise naming.not_found(ctx, function.name, _label(alias.version))
    if alias.additional_version is None:
        return
    if alias.version == 0:
        raise InvalidParameterValueException(f"{LATEST} is not supported for an alias pointing to more than 1 version")
    if alias.additional_version == alias.version:
        raise InvalidParameterValueException(
            f"Invalid function version {alias.version}. "
            f"Function version {alias.version} is already included in routing configuration."
        )
    if await versions.find(connection, function.id, alias.additional_version) is None:
        raise naming.not_found(ctx, function.name, _label(alias.additional_version))


def _reply(ctx: ControlContext, function_name: str, alias: Alias) -> Reply:
    reply: Reply = {
        "AliasArn": naming.arn(ctx, function_name, alias.name),
        "Name": alias.name,
        "FunctionVersion": _label(alias.version),
        "Description": alias.description,
    }
    if alias.additional_version is not None:
        reply["RoutingConfig"] = {"AdditionalVersionWeights": {_label(alias.additional_version): alias.additional_weight}}
    return reply | {"RevisionId": alias.revision_id}
