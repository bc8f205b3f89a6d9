"""Targets of rules."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.events import pages
from services.frontend.apis.events.context import EventsContext, Reply, found_rule, locked_bus, named_bus
from services.frontend.apis.events.errors import LimitExceededException, no_rule
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain import rule_targets, target_inputs
from shared.domain.errors import ValidationException
from shared.domain.event_buses import TARGETS_MAX, RuleTarget
from shared.registry.events import rules


async def put_targets(ctx: EventsContext, call: Call, params: Params) -> Reply:
    """All of them or none."""
    bus, name = named_bus(call, params), params["Rule"]
    targets = [_target(name, given) for given in params["Targets"]]
    async with ctx.registry.write() as connection:
        await locked_bus(connection, call.home, bus)
        rule = await rules.find(connection, call.home, bus, name)
        if rule is None:
            raise no_rule(bus, name)
        held = await rules.target_ids(connection, rule)
        if len(held | {target.id for target in targets}) > TARGETS_MAX:
            raise LimitExceededException
        await rules.put_targets(connection, rule, targets)
    ctx.changed(call.home, bus)
    return {"FailedEntries": [], "FailedEntryCount": 0}


async def remove_targets(ctx: EventsContext, call: Call, params: Params) -> Reply:
    """Those that are not there are removed already."""
    bus, name = named_bus(call, params), params["Rule"]
    async with ctx.registry.write() as connection:
        await locked_bus(connection, call.home, bus)
        rule = await rules.find(connection, call.home, bus, name)
        if rule is None:
            raise no_rule(bus, name)
        await rules.remove_targets(connection, rule, params["Ids"])
    ctx.changed(call.home, bus)
    return {"FailedEntries": [], "FailedEntryCount": 0}


async def list_targets_by_rule(ctx: EventsContext, call: Call, params: Params) -> Reply:
    bus, limit = named_bus(call, params), pages.size(params)
    async with ctx.registry.read() as connection:
        rule = await found_rule(connection, call.home, bus, params["Rule"])
        found = await rules.targets(connection, rule, pages.after(params), limit + 1)
    return pages.page("Targets", found, limit, lambda target: target.id, _shown)


def _shown(target: RuleTarget) -> Reply:
    return {"Arn": target.arn, "Id": target.id, **target.settings}


def _target(rule: str, given: dict[str, Any]) -> RuleTarget:
    """Raises ValidationException."""
    problem = target_inputs.problem(given) or rule_targets.problem(given)
    if problem:
        raise ValidationException(problem)
    settings = {name: value for name, value in given.items() if name not in ("Id", "Arn")}
    return RuleTarget(rule, given["Id"], given["Arn"], settings)
