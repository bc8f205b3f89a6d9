"""Tags of functions, event source mappings and code signing configurations."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from services.frontend.apis.lambda_ import code_signing as signing
from services.frontend.apis.lambda_ import naming, tag_rules
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import mapping_arn, parse_function_reference, require_reachable
from shared.domain.errors import InvalidParameterValueException, ResourceNotFoundException
from shared.registry import code_signing, functions, mappings

Change = Callable[[dict[str, str]], dict[str, str]]


async def list_tags(ctx: ControlContext, request: Request) -> Reply:
    kind, name = _resource(ctx, request["Resource"])
    async with ctx.registry.read() as connection:
        if kind == "function":
            found = await functions.find(connection, ctx.home, name)
            tags = None if found is None else found.function.tags
        elif kind == "code-signing-config":
            config = await code_signing.find(connection, signing.identity(ctx, name))
            tags = None if config is None else config.tags
        else:
            mapping = await mappings.find(connection, ctx.home, name)
            tags = None if mapping is None else mapping.tags
    if tags is None:
        raise _not_found(ctx, kind, name)
    return {"Tags": tags}


async def tag_resource(ctx: ControlContext, request: Request) -> Reply:
    added = request.get("Tags") or {}
    if not added:
        raise InvalidParameterValueException("An error occurred and the request cannot be processed.")
    return await _change(ctx, request["Resource"], lambda tags: tag_rules.merged(tags, added))


async def untag_resource(ctx: ControlContext, request: Request) -> Reply:
    gone = set(request["TagKeys"])
    return await _change(ctx, request["Resource"], lambda tags: {key: value for key, value in tags.items() if key not in gone})


async def _change(ctx: ControlContext, resource: str, change: Change) -> Reply:
    kind, name = _resource(ctx, resource)
    async with ctx.registry.write() as connection:
        if kind == "function":
            found = await functions.lock(connection, ctx.home, name)
            if found is None:
                raise _not_found(ctx, kind, name)
            await functions.set_tags(connection, found.function.id, change(found.function.tags))
            await functions.set_revision_id(connection, found.function.id, 0)
        elif kind == "code-signing-config":
            config = await code_signing.lock(connection, signing.identity(ctx, name))
            if config is None:
                raise _not_found(ctx, kind, name)
            await code_signing.replace(connection, msgspec.structs.replace(config, tags=change(config.tags)))
        else:
            mapping = await mappings.lock(connection, ctx.home, name)
            if mapping is None:
                raise _not_found(ctx, kind, name)
            await mappings.set_tags(connection, name, change(mapping.tags))
    return {}


def _resource(ctx: ControlContext, arn: str) -> tuple[str, str]:
    """(kind, name, uuid or ARN) of what is tagged. Raises for versions and aliases, and for what does not exist here yet."""
    kind = arn.split(":")[5]
    if kind == "function":
        reference = parse_function_reference(arn)
        if reference.qualifier is not None:
            raise InvalidParameterValueException(
                "Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        require_reachable(reference, ctx.home)
        return kind, reference.name
    if kind == "event-source-mapping":
        return kind, arn.rpartition(":")[2].lower()
    if kind == "code-signing-config":
        return kind, arn
    raise _nothing_there(kind, arn)


def _nothing_there(kind: str, arn: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"{kind.replace('-', ' ').capitalize()} not found: {arn}")


def _not_found(ctx: ControlContext, kind: str, name: str) -> ResourceNotFoundException:
    if kind == "function":
        return naming.not_found(ctx, name)
    if kind == "event-source-mapping":
        name = mapping_arn(ctx.home, name)
    return _nothing_there(kind, name)
