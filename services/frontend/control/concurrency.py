"""Reserved concurrency."""

from __future__ import annotations

from services.frontend.control import naming
from services.frontend.control.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST
from shared.domain.errors import InvalidParameterValueException, ResourceNotFoundException
from shared.domain.limits import ACCOUNT_UNRESERVED_MIN
from shared.registry import concurrency, functions


async def put_function_concurrency(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    executions = int(request["ReservedConcurrentExecutions"])
    await _set(ctx, name, executions, naming.not_found(ctx, name, LATEST))
    return {"ReservedConcurrentExecutions": executions}


async def get_function_concurrency(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    reserved = (await naming.find(ctx, name)).function.reserved_concurrency
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


async def delete_function_concurrency(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    await _set(ctx, name, None, naming.not_found(ctx, name))
    return {}


async def _set(ctx: ControlContext, name: str, executions: int | None, missing: ResourceNotFoundException) -> None:
    limit = ctx.settings.dispatch.account_concurrency
    async with ctx.registry.write() as connection:
        await concurrency.lock_account(connection)
        current = await functions.lock(connection, name)
        if current is None:
            raise missing
        function = current.function
        others = await concurrency.reserved(connection, without=function.id)
        left = limit - others - (executions or 0)
        if (executions or 0) > (function.reserved_concurrency or 0) and left < ACCOUNT_UNRESERVED_MIN:
            raise _below_minimum()
        revision = await concurrency.put(connection, function.id, executions)
    await ctx.announce(name, function.id, revision, executions)
    await ctx.announce_account()


def _below_minimum() -> InvalidParameterValueException:
    """AWS leaves the Type out of this body."""
    error = InvalidParameterValueException(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        f"below its minimum value of [{ACCOUNT_UNRESERVED_MIN}]."
    )
    error.fault = None
    return error
