"""Resource policies of layer versions: which accounts may use them."""

from __future__ import annotations

import json
import re

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import layer_naming
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.arns import PARTITION
from shared.domain.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from shared.registry import layers
from shared.registry.layers import FoundLayerVersion
from shared.registry.policies import Policy, Statement

POLICY_BYTES_MAX = 20_480
_ACCOUNT = re.compile(r"\d{12}")


async def add_layer_version_permission(ctx: ControlContext, request: Request) -> Reply:
    name, number = layer_naming.named_version(ctx, request)
    statement = _statement(request, layer_naming.arn(ctx, name, number))
    async with ctx.registry.write() as connection:
        policy = (await _locked(ctx, connection, name, number)).policy
        _check_revision(request, policy)
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
        revision_id = await layers.put_policy(connection, ctx.home, name, number, statements)
    return {"Statement": json.dumps(statement, separators=(",", ":")), "RevisionId": revision_id}


async def get_layer_version_policy(ctx: ControlContext, request: Request) -> Reply:
    name, number = layer_naming.named_version(ctx, request)
    found = None
    if number <= layer_naming.NUMBER_MAX:
        async with ctx.registry.read() as connection:
            found = await layers.find(connection, ctx.home, name, number)
    if found is None:
        raise layer_naming.not_found(ctx, name, number)
    policy = _required(found.policy)
    return {"Policy": _document(policy.statements), "RevisionId": policy.revision_id}


async def remove_layer_version_permission(ctx: ControlContext, request: Request) -> Reply:
    name, number = layer_naming.named_version(ctx, request)
    async with ctx.registry.write() as connection:
        policy = _required((await _locked(ctx, connection, name, number)).policy)
        _check_revision(request, policy)
        left = tuple(one for one in policy.statements if one["Sid"] != request["StatementId"])
        if len(left) == len(policy.statements):
            raise ResourceNotFoundException(f"Statement {request['StatementId']} is not found in resource policy.")
        await layers.put_policy(connection, ctx.home, name, number, left)
    return {}


async def _locked(ctx: ControlContext, connection: AsyncConnection, name: str, number: int) -> FoundLayerVersion:
    found = None if number > layer_naming.NUMBER_MAX else await layers.lock(connection, ctx.home, name, number)
    if found is None:
        raise layer_naming.not_found(ctx, name, number)
    return found


def _required(policy: Policy | None) -> Policy:
    if policy is None:
        raise ResourceNotFoundException("No policy is associated with the given resource.")
    return policy


def _check_revision(request: Request, policy: Policy | None) -> None:
    """A version without a policy has no RevisionId, so none can match."""
    expected = request.get("RevisionId")
    if expected is not None and (policy is None or expected != policy.revision_id):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id"
        )


def _document(statements: tuple[Statement, ...]) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements}, separators=(",", ":"))


def _statement(request: Request, resource: str) -> Statement:
    principal = request["Principal"]
    if _ACCOUNT.fullmatch(principal):
        principal = f"arn:{PARTITION}:iam::{principal}:root"
    statement: Statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": principal if principal == "*" else {"AWS": principal},
        "Action": request["Action"],
        "Resource": resource,
    }
    if request.get("OrganizationId") is not None:
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": request["OrganizationId"]}}
    return statement
