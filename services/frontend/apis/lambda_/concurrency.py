"""Reserved concurrency."""

from __future__ import annotations

from services.frontend.apis.lambda_ import naming
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST
from shared.domain.errors import InvalidParameterValueException, ResourceNotFoundException
from shared.domain.limits import ACCOUNT_UNRESERVED_MIN
from shared.registry import concurrency, functions, provisioned


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
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise missing
        function = current.function
        own = await provisioned.total(connection, function.id)
        if executions is not None and executions < own:
            raise _below_provisioned(executions, own)
        others = await concurrency.reserved(connection, ctx.home, without=function.id)
        others += await provisioned.unreserved(connection, ctx.home, without=function.id)
        before = own if function.reserved_concurrency is None else function.reserved_concurrency
        taken = own if executions is None else executions
        if taken > before and limit - others - taken < ACCOUNT_UNRESERVED_MIN:
            raise _below_minimum()
        revision = await concurrency.put(connection, function.id, executions)
    await ctx.announce(name, function.id, revision, executions)
    await ctx.announce_account()


def _below_provisioned(executions: int, provisioned_total: int) -> InvalidParameterValueException:
    """The spaces are AWS's."""
    return _untyped(
        f" ReservedConcurrentExecutions  {executions} should not be lower than "
        f"function's total provisioned concurrency [{provisioned_total}]."
    )


def _below_minimum() -> InvalidParameterValueException:
    return _untyped(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
        f"below its minimum value of [{ACCOUNT_UNRESERVED_MIN}]."
    )


def _untyped(message: str) -> InvalidParameterValueException:
    """AWS leaves the Type out of these bodies."""
    error = InvalidParameterValueException(message)
    error.fault = None
    return error
