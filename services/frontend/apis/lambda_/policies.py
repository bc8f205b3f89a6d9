"""Resource policies of functions, versions and aliases: who else may invoke them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import naming
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST, PARTITION, is_version
from shared.domain.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    PublicPolicyException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.domain.policy_documents import DEFAULT_ID, POLICY_BYTES_MAX, VERSION, PolicyDocument, RawStatement
from shared.domain.policy_evaluation import Statement, is_public, parse_statement
from shared.registry import aliases, functions, policies
from shared.registry.records import FunctionVersion

_ACCOUNT = re.compile(r"\d{12}")
_ARN = re.compile(r"arn:[a-z0-9-]+:(?:iam|sts)::\d{12}:\S+")
_SERVICE = re.compile(
    r"[a-z0-9-]+(\.[a-z0-9-]+)*\.(amazonaws\.com(\.cn|\.eu)?|amazon\.com|c2s\.ic\.gov|sc2s\.sgov\.gov|aws\.internal)"
)
"""Services of AWS go by names of its own domains, in every partition; Alexa's by amazon.com."""
URL_ACTION = "lambda:InvokeFunctionUrl"
REVISION_MISMATCH = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
)


async def add_permission(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    refuse_latest(qualifier)
    statement = _statement(request, naming.arn(ctx, name, qualifier))
    check_public(ctx, (parse_statement(statement),))
    async with ctx.registry.write() as connection:
        found = await locked_target(ctx, connection, name, qualifier)
        label = qualifier or LATEST
        policy = await policies.find(connection, ctx.home, name, label)
        expected = request.get("RevisionId")
        if expected is not None:
            current = policy.revision_id if policy else await _own_revision(ctx, connection, found, qualifier)
            if expected != current:
                raise PreconditionFailedException(REVISION_MISMATCH)
        document = policy.document if policy else PolicyDocument(VERSION, DEFAULT_ID, ())
        if any(one.get("Sid") == statement["Sid"] for one in document.statements):
            raise ResourceConflictException(
                f"The statement id ({statement['Sid']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        document = msgspec.structs.replace(document, statements=(*document.statements, statement))
        check_length(document)
        await policies.put(connection, found.function.id, label, document)
    await ctx.url_changed(found.function.id)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


async def get_policy(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.read() as connection:
        policy = await policies.find(connection, ctx.home, name, qualifier or LATEST)
    if policy is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": policy.document.render(), "RevisionId": policy.revision_id}


async def remove_permission(ctx: ControlContext, request: Request) -> Reply:
    """With its last statement a policy is gone."""
    name, qualifier = naming.named(ctx, request)
    label = qualifier or LATEST
    async with ctx.registry.write() as connection:
        found = await functions.lock(connection, ctx.home, name)
        if found is None:
            raise ResourceNotFoundException(f"No policy found for: {naming.arn(ctx, name)}")
        await _check_qualifier(ctx, connection, name, qualifier)
        policy = await policies.find(connection, ctx.home, name, label)
        if policy is None:
            raise ResourceNotFoundException("No policy is associated with the given resource.")
        naming.check_revision(request, policy.revision_id)
        left = tuple(one for one in policy.document.statements if one.get("Sid") != request["StatementId"])
        if len(left) == len(policy.document.statements):
            raise ResourceNotFoundException(f"Statement {request['StatementId']} is not found in resource policy.")
        if left:
            document = msgspec.structs.replace(policy.document, statements=left)
            await policies.put(connection, found.function.id, label, document)
        else:
            await policies.remove(connection, found.function.id, label)
    await ctx.url_changed(found.function.id)
    return {}


async def locked_target(ctx: ControlContext, connection: AsyncConnection, name: str, qualifier: str | None) -> FunctionVersion:
    """The locked function; raises ResourceNotFoundException when it, or what the qualifier names, does not exist."""
    found = await functions.lock(connection, ctx.home, name)
    if found is None:
        raise naming.not_found(ctx, name, qualifier)
    await _check_qualifier(ctx, connection, name, qualifier)
    return found


async def _check_qualifier(ctx: ControlContext, connection: AsyncConnection, name: str, qualifier: str | None) -> None:
    """Raises ResourceNotFoundException: of a missing alias AWS says it in other words than of a missing version."""
    if qualifier is None or await functions.find(connection, ctx.home, name, qualifier) is not None:
        return
    if qualifier == LATEST or is_version(qualifier):
        raise naming.not_found(ctx, name, qualifier)
    raise ResourceNotFoundException(f"Cannot find alias arn: {naming.arn(ctx, name, qualifier)}")


def refuse_latest(qualifier: str | None) -> None:
    """Raises InvalidParameterValueException: only the function itself, versions and aliases can have a policy."""
    if qualifier == LATEST:
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")


def check_length(document: PolicyDocument) -> None:
    """Raises PolicyLengthExceededException."""
    size = len(document.render())
    if size > POLICY_BYTES_MAX:
        raise PolicyLengthExceededException(f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX}).")


def check_public(ctx: ControlContext, statements: Iterable[Statement]) -> None:
    """Raises PublicPolicyException where the operator does not want policies that let everybody in."""
    if ctx.settings.frontend.block_public_policies and any(is_public(statement) for statement in statements):
        raise PublicPolicyException(
            "The resource-based policy would grant public access to the function, and public policies are blocked."
        )


async def _own_revision(ctx: ControlContext, connection: AsyncConnection, found: FunctionVersion, qualifier: str | None) -> str:
    """The RevisionId that stands for a resource as long as it has no policy: the function's, version's or alias's own."""
    if qualifier is None:
        return found.version.revision_id
    alias = await aliases.find(connection, found.function.id, qualifier)
    if alias is not None:
        return alias.revision_id
    version = await functions.find(connection, ctx.home, found.function.name, qualifier)
    return "" if version is None else version.version.revision_id


def _statement(request: Request, resource: str) -> RawStatement:
    """The statement as it stands in the policy. Raises InvalidParameterValueException."""
    if request.get("FunctionUrlAuthType") is not None and request["Action"] != URL_ACTION:
        raise InvalidParameterValueException(f"FunctionUrlAuthType is only supported for {URL_ACTION} action")
    statement: RawStatement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(request["Principal"]),
        "Action": request["Action"],
        "Resource": resource,
    }
    equals: dict[str, Any] = {}
    for parameter, key in (
        ("SourceAccount", "AWS:SourceAccount"),
        ("EventSourceToken", "lambda:EventSourceToken"),
        ("FunctionUrlAuthType", "lambda:FunctionUrlAuthType"),
        ("PrincipalOrgID", "aws:PrincipalOrgID"),
    ):
        if request.get(parameter) is not None:
            equals[key] = request[parameter]
    condition: dict[str, Any] = {}
    if equals:
        condition["StringEquals"] = equals
    if request.get("InvokedViaFunctionUrl") is not None:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": str(request["InvokedViaFunctionUrl"]).lower()}
    if request.get("SourceArn") is not None:
        condition["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if condition:
        statement["Condition"] = condition
    return statement


def _principal(principal: str) -> str | dict[str, str]:
    """ "*" stays as it is, a service is one, an account is its root, an ARN is what it is."""
    if principal == "*":
        return principal
    if _ACCOUNT.fullmatch(principal):
        return {"AWS": f"arn:{PARTITION}:iam::{principal}:root"}
    if _ARN.fullmatch(principal) and "*" not in principal:
        return {"AWS": principal}
    if _SERVICE.fullmatch(principal):
        return {"Service": principal}
    raise InvalidParameterValueException("The provided principal was invalid. Please check the principal and try again.")
