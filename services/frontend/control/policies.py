"""Resource policies of functions, versions and aliases: who else may invoke them."""

from __future__ import annotations

import json
import re
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.control import naming
from services.frontend.control.context import ControlContext, Reply, Request
from shared.domain.arns import LATEST, PARTITION
from shared.domain.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.registry import aliases, functions, policies
from shared.registry.records import FunctionVersion

POLICY_BYTES_MAX = 20_480
_ACCOUNT = re.compile(r"\d{12}")
_SERVICE = re.compile(r"[a-z0-9.-]+\.[a-z]+(\.[a-z]+)*")


async def add_permission(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    if qualifier == LATEST:
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
    statement = _statement(request, naming.arn(ctx, name, qualifier))
    async with ctx.registry.write() as connection:
        found = await _target(ctx, connection, name, qualifier)
        label = qualifier or LATEST
        policy = await policies.find(connection, name, label)
        expected = request.get("RevisionId")
        if expected is not None:
            current = policy.revision_id if policy else await _own_revision(connection, found, qualifier)
            if expected != current:
                raise PreconditionFailedException(
                    "The Revision Id provided does not match the latest Revision Id. "
                    "Call the GetPolicy API to retrieve the latest Revision Id"
                )
        statements = policy.statements if policy else ()
        if any(one["Sid"] == statement["Sid"] for one in statements):
            raise ResourceConflictException(
                f"The statement id ({statement['Sid']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement."
            )
        statements = (*statements, statement)
        size = len(_document(statements))
        if size > POLICY_BYTES_MAX:
            raise InvalidParameterValueException(
                f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX})."
            )
        await policies.put(connection, found.function.id, label, statements)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


async def get_policy(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.read() as connection:
        policy = await policies.find(connection, name, qualifier or LATEST)
    if policy is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": _document(policy.statements), "RevisionId": policy.revision_id}


async def remove_permission(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    async with ctx.registry.write() as connection:
        found = await _target(ctx, connection, name, qualifier)
        policy = await policies.find(connection, name, qualifier or LATEST)
        if policy is None:
            raise ResourceNotFoundException("No policy is associated with the given resource.")
        naming.check_revision(request, policy.revision_id)
        left = tuple(one for one in policy.statements if one["Sid"] != request["StatementId"])
        if len(left) == len(policy.statements):
            raise ResourceNotFoundException(f"Statement {request['StatementId']} is not found in resource policy.")
        await policies.put(connection, found.function.id, qualifier or LATEST, left)
    return {}


async def _target(ctx: ControlContext, connection: AsyncConnection, name: str, qualifier: str | None) -> FunctionVersion:
    """The locked function; raises ResourceNotFoundException when it, or what the qualifier names, does not exist."""
    found = await functions.lock(connection, name)
    if found is None or (qualifier is not None and await functions.find(connection, name, qualifier) is None):
        raise naming.not_found(ctx, name, qualifier)
    return found


async def _own_revision(connection: AsyncConnection, found: FunctionVersion, qualifier: str | None) -> str:
    """The RevisionId that stands for a resource as long as it has no policy: the function's, version's or alias's own."""
    if qualifier is None:
        return found.version.revision_id
    alias = await aliases.find(connection, found.function.id, qualifier)
    if alias is not None:
        return alias.revision_id
    version = await functions.find(connection, found.function.name, qualifier)
    return "" if version is None else version.version.revision_id


def _document(statements: tuple[policies.Statement, ...]) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements}, separators=(",", ":"))


def _statement(request: Request, resource: str) -> policies.Statement:
    statement: policies.Statement = {
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
    if principal.startswith("arn:"):
        return {"AWS": principal}
    if _SERVICE.fullmatch(principal):
        return {"Service": principal}
    raise InvalidParameterValueException("The provided principal was invalid. Please check the principal and try again.")
