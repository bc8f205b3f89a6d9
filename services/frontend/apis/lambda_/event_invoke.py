"""How asynchronous invocations are retried and where their outcomes go."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import naming, pages
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST, parse_function_reference
from shared.domain.destinations import TOPIC_SCHEME, Use, is_deliverable, is_function, is_function_elsewhere
from shared.domain.errors import InvalidParameterValueException, ResourceNotFoundException
from shared.events.internal import is_internal
from shared.registry import event_invoke, functions
from shared.registry.functions import now_ms
from shared.registry.records import EventInvokeRow, Function


async def put_function_event_invoke_config(ctx: ControlContext, request: Request) -> Reply:
    """Replaces: what is not sent is gone."""
    return await _write(ctx, request, keep=False)


async def update_function_event_invoke_config(ctx: ControlContext, request: Request) -> Reply:
    """Merges: what is not sent stays."""
    return await _write(ctx, request, keep=True)


async def _write(ctx: ControlContext, request: Request, *, keep: bool) -> Reply:
    name, qualifier = naming.named(ctx, request)
    label = qualifier or LATEST
    success, failure = _destinations(ctx, request)
    retries, age = request.get("MaximumRetryAttempts"), request.get("MaximumEventAgeInSeconds")
    if retries is None and age is None and request.get("DestinationConfig") is None:
        raise InvalidParameterValueException("You must specify at least one of error handling or destination setting.")
    async with ctx.registry.write() as connection:
        function = await _locked(ctx, connection, name, qualifier)
        for target in (success, failure):
            await _check_function(ctx, connection, name, target)
        current = await event_invoke.find(connection, ctx.home, name, label)
        if keep and current is None:
            raise _missing(ctx, name, label)
        base = current if keep and current else EventInvokeRow(function.id, label, None, None, None, None, 0)
        row = EventInvokeRow(
            function_id=function.id,
            qualifier=label,
            retry_attempts_max=base.retry_attempts_max if retries is None else retries,
            event_age_s_max=base.event_age_s_max if age is None else age,
            on_success_arn=base.on_success_arn if success is None else success or None,
            on_failure_arn=base.on_failure_arn if failure is None else failure or None,
            modified_ms=now_ms(),
        )
        revision = await event_invoke.put(connection, row)
    await ctx.announce(name, function.id, revision, function.reserved_concurrency)
    return _reply(ctx, name, row)


async def get_function_event_invoke_config(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.read() as connection:
        row = await event_invoke.find(connection, ctx.home, name, qualifier or LATEST)
    if row is None:
        raise _missing(ctx, name, qualifier or LATEST)
    return _reply(ctx, name, row)


async def list_function_event_invoke_configs(ctx: ControlContext, request: Request) -> Reply:
    name, _ = naming.named(ctx, request)
    limit = pages.size(request)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        function = await functions.find(connection, ctx.home, name)
        if function is None:
            raise _no_function()
        rows = await event_invoke.page(connection, function.function.id, after, limit + 1)
    found, more = pages.cut(rows, limit)
    reply: Reply = {"FunctionEventInvokeConfigs": [_reply(ctx, name, row) for row in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].qualifier)
    return reply


async def delete_function_event_invoke_config(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    label = qualifier or LATEST
    async with ctx.registry.write() as connection:
        current = await functions.lock(connection, ctx.home, name)
        revision = None if current is None else await event_invoke.remove(connection, current.function.id, label)
    if current is None or revision is None:
        raise _missing(ctx, name, label)
    await ctx.announce(name, current.function.id, revision, current.function.reserved_concurrency)
    return {}


async def _locked(ctx: ControlContext, connection: AsyncConnection, name: str, qualifier: str | None) -> Function:
    current = await functions.lock(connection, ctx.home, name)
    if current is None or await functions.find(connection, ctx.home, name, qualifier) is None:
        raise _no_function()
    return current.function


def _no_function() -> ResourceNotFoundException:
    return ResourceNotFoundException("The function doesn't exist.")


def _missing(ctx: ControlContext, name: str, label: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"The function {naming.arn(ctx, name, label)} doesn't have an EventInvokeConfig")


def _destinations(ctx: ControlContext, request: Request) -> tuple[str | None, str | None]:
    """(on success, on failure): None where none was sent, "" where the one there was is to go."""
    sent = request.get("DestinationConfig") or {}
    success, failure = ((sent.get(side) or {}).get("Destination") for side in ("OnSuccess", "OnFailure"))
    for target, use in ((success, Use.ON_SUCCESS), (failure, Use.ON_FAILURE)):
        if target and (why := _refusal(ctx, target, use)) is not None:
            shown = f"onSuccess={_shown('OnSuccess', success)}, onFailure={_shown('OnFailure', failure)}"
            raise InvalidParameterValueException(
                f"The provided destination config DestinationConfig({shown}) is invalid.{' ' if why else ''}{why}"
            )
    return success, failure


def _refusal(ctx: ControlContext, target: str, use: Use) -> str | None:
    """None for a destination that can be delivered to; else what there is to say besides that it is invalid."""
    if not is_deliverable(target, use):
        return ""
    if is_function_elsewhere(target, ctx.home):
        return "Only functions of this account and region can be invoked."
    if target.startswith(TOPIC_SCHEME) and is_internal(target.removeprefix(TOPIC_SCHEME), ctx.settings):
        return "The topic is internal to the cluster."
    return None


async def _check_function(ctx: ControlContext, connection: AsyncConnection, name: str, target: str | None) -> None:
    """Raises InvalidParameterValueException when a destination is a function that does not exist, or the one it is for."""
    if not target or not is_function(target):
        return
    reference = parse_function_reference(target)
    if await functions.find(connection, ctx.home, reference.name, reference.qualifier) is None:
        raise InvalidParameterValueException(f"The destination ARN {target} is invalid.")
    if reference.name == name:
        raise InvalidParameterValueException("You can't specify the function as a destination for itself.")


def _shown(side: str, destination: str | None) -> str:
    return "null" if destination is None else f"{side}(destination={destination})"


def _reply(ctx: ControlContext, name: str, row: EventInvokeRow) -> Reply:
    return {
        "LastModified": row.modified_ms / 1000,
        "FunctionArn": naming.arn(ctx, name, row.qualifier),
        **({} if row.retry_attempts_max is None else {"MaximumRetryAttempts": row.retry_attempts_max}),
        **({} if row.event_age_s_max is None else {"MaximumEventAgeInSeconds": row.event_age_s_max}),
        "DestinationConfig": {
            "OnSuccess": {} if row.on_success_arn is None else {"Destination": row.on_success_arn},
            "OnFailure": {} if row.on_failure_arn is None else {"Destination": row.on_failure_arn},
        },
    }
