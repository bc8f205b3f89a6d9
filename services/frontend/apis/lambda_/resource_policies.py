"""Resource policies as whole documents, by the ARN of what they are attached to."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import naming, policies
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST, parse_function_reference, require_reachable
from shared.domain.errors import InvalidParameterValueException, PreconditionFailedException, ResourceNotFoundException
from shared.domain.policy_conditions import MalformedPolicyError
from shared.domain.policy_documents import parse_document
from shared.registry import policies as registry
from shared.registry.records import FunctionVersion


async def get_resource_policy(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = _resource(ctx, request)
    async with ctx.registry.read() as connection:
        policy = await registry.find(connection, ctx.home, name, qualifier or LATEST)
    if policy is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": policy.document.render(), "RevisionId": policy.revision_id}


async def put_resource_policy(ctx: ControlContext, request: Request) -> Reply:
    """Replaces what the resource had, whichever operation had put it there."""
    name, qualifier = _resource(ctx, request)
    policies.refuse_latest(qualifier)
    resource = naming.arn(ctx, name, qualifier)
    try:
        document = parse_document(request["Policy"], resource)
    except MalformedPolicyError as error:
        raise InvalidParameterValueException(f"The provided policy is not valid: {error}.") from error
    policies.check_length(document)
    policies.check_public(ctx, document.parsed())
    async with ctx.registry.write() as connection:
        found = await policies.locked_target(ctx, connection, name, qualifier)
        await _checked(ctx, connection, request, found, qualifier)
        revision_id = await registry.put(connection, found.function.id, qualifier or LATEST, document)
    await ctx.url_changed(found.function.id)
    return {"Policy": document.render(), "RevisionId": revision_id}


async def delete_resource_policy(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = _resource(ctx, request)
    async with ctx.registry.write() as connection:
        found = await policies.locked_target(ctx, connection, name, qualifier)
        if await _checked(ctx, connection, request, found, qualifier) is None:
            raise ResourceNotFoundException("No policy is associated with the given resource.")
        await registry.remove(connection, found.function.id, qualifier or LATEST)
    await ctx.url_changed(found.function.id)
    return {}


async def _checked(
    ctx: ControlContext, connection: AsyncConnection, request: Request, found: FunctionVersion, qualifier: str | None
) -> registry.Policy | None:
    """The policy that there is. Raises PreconditionFailedException when the request's RevisionId is not that policy's."""
    policy = await registry.find(connection, ctx.home, found.function.name, qualifier or LATEST)
    expected = request.get("RevisionId")
    if expected is not None and (policy is None or expected != policy.revision_id):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetResourcePolicy API to retrieve the latest Revision Id"
        )
    return policy


def _resource(ctx: ControlContext, request: Request) -> tuple[str, str | None]:
    """(function name, qualifier) of a ResourceArn. The service model's pattern has let nothing but whole ARNs through."""
    arn = request["ResourceArn"]
    if not arn.partition(":lambda:")[2].partition(":")[2].partition(":")[2].startswith("function:"):
        # Of runtimes: AWS's, and none of them can be given a policy here.
        raise ResourceNotFoundException("The resource you requested does not exist.")
    reference = parse_function_reference(arn)
    require_reachable(reference, ctx.home)
    return reference.name, reference.qualifier
