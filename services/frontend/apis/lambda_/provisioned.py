"""Provisioned concurrency: what is asked for on versions and aliases. The scheduler brings it about and notes how far it is."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import naming, pages
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST, is_version
from shared.domain.errors import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
)
from shared.domain.limits import ACCOUNT_UNRESERVED_MIN
from shared.domain.provisioned import ProvisionedConcurrency
from shared.registry import concurrency, functions, provisioned
from shared.registry.packages import PackageError
from shared.registry.records import Alias, Function, FunctionVersion

UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."


async def put_provisioned_concurrency_config(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = _named(ctx, request, UNPUBLISHED)
    requested = int(request["ProvisionedConcurrentExecutions"])
    await _settle(ctx, name, qualifier)
    async with ctx.registry.write() as connection:
        await concurrency.lock_account(connection)
        function, version = await _locked(ctx, connection, name, qualifier)
        await _check_sums(ctx, connection, function, qualifier, requested)
        await _check_place(connection, function.id, qualifier, version.version.number)
        made = await provisioned.put(connection, function.id, qualifier, requested)
    await ctx.announce(name, function.id, made.generation, function.reserved_concurrency)
    return _reply(made)


async def get_provisioned_concurrency_config(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = _named(ctx, request)
    async with ctx.registry.read() as connection:
        found = await functions.find(connection, ctx.home, name, qualifier)
        if found is None:
            raise _missing(ctx, name, qualifier)
        configuration = await provisioned.find(connection, found.function.id, qualifier)
    if configuration is None:
        raise ProvisionedConcurrencyConfigNotFoundException("No Provisioned Concurrency Config found for this function")
    return _reply(configuration)


async def list_provisioned_concurrency_configs(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    limit = pages.size(request)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        found = await functions.find(connection, ctx.home, name)
        if found is None:
            raise naming.not_found(ctx, name)
        items = await provisioned.page(connection, found.function.id, after, limit + 1)
    shown, more = pages.cut(items, limit)
    listed = [{"FunctionArn": naming.arn(ctx, name, one.qualifier)} | _reply(one) for one in shown]
    reply: Reply = {"ProvisionedConcurrencyConfigs": listed}
    if more:
        reply["NextMarker"] = pages.marker(shown[-1].qualifier)
    return reply


async def delete_provisioned_concurrency_config(ctx: ControlContext, request: Request) -> Reply:
    """Succeeds, as on AWS, when nothing was configured."""
    name, qualifier = _named(ctx, request)
    async with ctx.registry.write() as connection:
        function, _ = await _locked(ctx, connection, name, qualifier)
        revision = await provisioned.remove(connection, function.id, qualifier)
    if revision is not None:
        await ctx.announce(name, function.id, revision, function.reserved_concurrency)
    return {}


async def follow(connection: AsyncConnection, alias: Alias, revision: int) -> None:
    """An alias points elsewhere: so does its provisioned concurrency, if it has any. Raises what a request for it would."""
    if await provisioned.find(connection, alias.function_id, alias.name) is not None:
        await _check_place(connection, alias.function_id, alias.name, alias.version)
        await provisioned.alias_moved(connection, alias.function_id, alias.name, revision)


async def _check_place(connection: AsyncConnection, function_id: str, qualifier: str, number: int) -> None:
    """The version is published and no other configuration stands on it."""
    if number == 0:
        raise InvalidParameterValueException(UNPUBLISHED)
    others = [other for other in await provisioned.on_version(connection, function_id, number) if other != qualifier]
    if not others:
        return
    if is_version(qualifier):
        raise ResourceConflictException("Version is pointed by a Provisioned Concurrency alias")
    raise ResourceConflictException(
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    )


def _named(
    ctx: ControlContext,
    request: Request,
    refusal: str = "The function resource provided must be an alias or a published version.",
) -> tuple[str, str]:
    name, qualifier = naming.named(ctx, request)
    if qualifier is None or qualifier == LATEST:
        raise InvalidParameterValueException(refusal)
    return name, qualifier


def _missing(ctx: ControlContext, name: str, qualifier: str) -> ResourceNotFoundException:
    """AWS names a missing function as a missing alias when the qualifier could be one."""
    if is_version(qualifier):
        return naming.not_found(ctx, name, qualifier)
    return ResourceNotFoundException(f"Cannot find alias arn: {naming.arn(ctx, name, qualifier)}")


async def _settle(ctx: ControlContext, name: str, qualifier: str) -> None:
    """A version published a moment ago becomes Active first: environments are started from a package that is stored."""
    async with ctx.registry.read() as connection:
        found = await functions.find(connection, ctx.home, name, qualifier)
    if found is None:
        raise _missing(ctx, name, qualifier)
    try:
        await ctx.registry.settler.settle(found)
    except PackageError as error:
        raise ServiceException("The function's code package cannot be reached. Try again.") from error


async def _locked(
    ctx: ControlContext, connection: AsyncConnection, name: str, qualifier: str
) -> tuple[Function, FunctionVersion]:
    current = await functions.lock(connection, ctx.home, name)
    version = None if current is None else await functions.find(connection, ctx.home, name, qualifier)
    if current is None or version is None:
        raise _missing(ctx, name, qualifier)
    return current.function, version


async def _check_sums(
    ctx: ControlContext, connection: AsyncConnection, function: Function, qualifier: str, requested: int
) -> None:
    """All of a function fits into its reserved concurrency or, without one, leaves the account its unreserved minimum."""
    others = await provisioned.total(connection, function.id, without=qualifier)
    if function.reserved_concurrency is not None:
        if others + requested > function.reserved_concurrency:
            raise InvalidParameterValueException(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
            )
        return
    current = await provisioned.find(connection, function.id, qualifier)
    if current is not None and requested <= current.requested:
        return
    taken = (
        await concurrency.reserved(connection, ctx.home)
        + await provisioned.unreserved(connection, ctx.home, without=function.id)
        + others
    )
    unreserved = ctx.settings.dispatch.account_concurrency - taken
    if requested > unreserved:
        raise _untyped(
            f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}]."
        )
    if unreserved - requested < ACCOUNT_UNRESERVED_MIN:
        raise _untyped(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{ACCOUNT_UNRESERVED_MIN}]."
        )


def _untyped(message: str) -> InvalidParameterValueException:
    """AWS leaves the Type out of these bodies."""
    error = InvalidParameterValueException(message)
    error.fault = None
    return error


def _reply(configuration: ProvisionedConcurrency) -> Reply:
    modified = datetime.fromtimestamp(configuration.modified_ms // 1000, UTC)
    return {
        "RequestedProvisionedConcurrentExecutions": configuration.requested,
        "AvailableProvisionedConcurrentExecutions": configuration.allocated,
        "AllocatedProvisionedConcurrentExecutions": configuration.allocated,
        "Status": configuration.status.value,
        "StatusReason": configuration.status_reason or None,
        "LastModified": f"{modified:%Y-%m-%dT%H:%M:%S}+0000",
    }
