"""Who else may put events on a bus: statements one by one, or a whole policy."""

from __future__ import annotations

import json
from typing import Any

from services.frontend.apis.events.context import EventsContext, Reply, locked_bus, named_bus
from services.frontend.apis.events.errors import PolicyLengthExceededException, ResourceNotFoundException
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import PARTITION
from shared.domain.errors import ValidationException
from shared.registry.events import buses

VERSION = "2012-10-17"
ACTION = "events:PutEvents"
"""The only one that a single statement may permit."""
POLICY_CHARACTERS_MAX = 10_240


async def put_permission(ctx: EventsContext, call: Call, params: Params) -> Reply:
    name = named_bus(call, params)
    whole = None if params.get("Policy") is None else _document(params["Policy"])
    if whole is None:
        for member in ("Action", "Principal", "StatementId"):
            if not params.get(member):
                raise ValidationException(f"Parameter {member} is not valid. Reason: {member} is a required argument.")
        if params["Action"] != ACTION:
            raise ValidationException("Provided value in parameter 'action' is not supported.")
    async with ctx.registry.write() as connection:
        bus = await locked_bus(connection, call.home, name)
        policy = whole
        if policy is None:
            statement = _statement(params, bus.arn)
            held = [one for one in _statements(bus.policy) if one.get("Sid") != statement["Sid"]]
            policy = {"Version": VERSION, "Statement": [*held, statement]}
        if len(json.dumps(policy)) > POLICY_CHARACTERS_MAX:
            raise PolicyLengthExceededException
        await buses.change(connection, call.home, name, policy=policy)
    ctx.changed(call.home, name)
    return {}


async def remove_permission(ctx: EventsContext, call: Call, params: Params) -> Reply:
    name = named_bus(call, params)
    async with ctx.registry.write() as connection:
        bus = await locked_bus(connection, call.home, name)
        held = _statements(bus.policy)
        kept = (
            [] if params.get("RemoveAllPermissions") else [one for one in held if one.get("Sid") != params.get("StatementId")]
        )
        if len(kept) == len(held) and not params.get("RemoveAllPermissions"):
            raise ResourceNotFoundException("Statement with the provided id does not exist.")
        policy = {**(bus.policy or {"Version": VERSION}), "Statement": kept} if kept else None
        await buses.change(connection, call.home, name, policy=policy)
    ctx.changed(call.home, name)
    return {}


def _statement(params: Params, bus_arn: str) -> dict[str, Any]:
    principal = params["Principal"]
    statement: dict[str, Any] = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else {"AWS": f"arn:{PARTITION}:iam::{principal}:root"},
        "Action": params["Action"],
        "Resource": bus_arn,
    }
    condition = params.get("Condition")
    if condition is not None:
        statement["Condition"] = {condition["Type"]: {condition["Key"]: condition["Value"]}}
    return statement


def _statements(policy: dict[str, Any] | None) -> list[dict[str, Any]]:
    found = (policy or {}).get("Statement", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else [found]


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("Statement"), list | dict):
        raise ValidationException("Parameter Policy is not valid. Reason: it is no policy document.")
    return document
