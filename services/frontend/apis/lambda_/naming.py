"""Which function a request means, and what is said when there is none."""

from __future__ import annotations

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.arns import (
    FUNCTION_NAME_CHARACTERS_MAX,
    function_arn,
    merge_qualifier,
    parse_function_reference,
    require_reachable,
)
from shared.domain.errors import InvalidParameterValueException, PreconditionFailedException, ResourceNotFoundException
from shared.registry import functions
from shared.registry.records import FunctionVersion

REVISION_MISMATCH = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)


def named(ctx: ControlContext, request: Request) -> tuple[str, str | None]:
    """(name, qualifier) of a request, from FunctionName and Qualifier.

    Raises ResourceNotFoundException (other region), AccessDeniedException (other account), InvalidParameterValueException.
    """
    reference = parse_function_reference(request["FunctionName"])
    require_reachable(reference, ctx.home)
    return reference.name, merge_qualifier(reference, request.get("Qualifier"))


def named_unqualified(ctx: ControlContext, request: Request) -> str:
    """The name in a request of an operation that works on functions, not on versions or aliases."""
    name, qualifier = named(ctx, request)
    if qualifier is not None:
        raise InvalidParameterValueException(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
    return name


def new_name(ctx: ControlContext, request: Request) -> str:
    """The name that a function to be made is to have. Of one that cannot exist, all other operations say that it does not."""
    name = named_unqualified(ctx, request)
    if len(name) > FUNCTION_NAME_CHARACTERS_MAX:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {FUNCTION_NAME_CHARACTERS_MAX}"
        )
    return name


def arn(ctx: ControlContext, name: str, qualifier: str | None = None) -> str:
    return function_arn(ctx.home, name, qualifier)


def not_found(ctx: ControlContext, name: str, qualifier: str | None = None) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Function not found: {arn(ctx, name, qualifier)}")


async def find(ctx: ControlContext, name: str, qualifier: str | None = None) -> FunctionVersion:
    """The version as it is now; one that a killed process left unsettled is settled first. Raises ResourceNotFoundException."""
    async with ctx.registry.read() as connection:
        found = await functions.find(connection, ctx.home, name, qualifier)
    if found is not None and await ctx.registry.settler.settle_stale(found):
        async with ctx.registry.read() as connection:
            found = await functions.find(connection, ctx.home, name, qualifier)
    if found is None:
        raise not_found(ctx, name, qualifier)
    return found


def check_revision(request: Request, current: str) -> None:
    """Raises PreconditionFailedException when the request names a RevisionId that is not the current one."""
    expected = request.get("RevisionId")
    if expected is not None and expected != current:
        raise PreconditionFailedException(REVISION_MISMATCH)
