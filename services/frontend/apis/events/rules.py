"""Rules: which events of a bus go to which targets, or when one is made."""

from __future__ import annotations

from services.frontend.apis.events import pages, tags
from services.frontend.apis.events.context import EventsContext, Reply, found_bus, found_rule, locked_bus, named_bus
from services.frontend.apis.events.errors import LimitExceededException, no_rule
from services.frontend.apis.events.patterns import compiled
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.cron_expressions import InvalidExpressionError
from shared.domain.errors import ValidationException
from shared.domain.event_buses import DEFAULT_BUS, RULES_MAX, Rule, RuleState
from shared.domain.schedule_expressions import parse_rule_expression
from shared.registry.events import rules


async def put_rule(ctx: EventsContext, call: Call, params: Params) -> Reply:
    home, bus, name = call.home, named_bus(call, params), params["Name"]
    pattern, schedule = params.get("EventPattern") or None, params.get("ScheduleExpression") or None
    _check(bus, pattern, schedule)
    async with ctx.registry.write() as connection:
        await locked_bus(connection, home, bus)
        held = await rules.find(connection, home, bus, name)
        if held is None and await rules.count(connection, home, bus) >= RULES_MAX:
            raise LimitExceededException
        rule = Rule(
            home,
            bus,
            name,
            pattern,
            schedule,
            RuleState(params.get("State") or RuleState.ENABLED),
            params.get("Description"),
            params.get("RoleArn"),
            # Of a rule that there is, tags are changed by TagResource alone.
            tags.listed(params.get("Tags")) if held is None else held.tags,
        )
        await rules.put(connection, rule)
    ctx.changed(home, bus)
    return {"RuleArn": rule.arn}


def _check(bus: str, pattern: str | None, schedule: str | None) -> None:
    if pattern is None and schedule is None:
        raise ValidationException("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    if schedule is not None and bus != DEFAULT_BUS:
        raise ValidationException("ScheduleExpression is supported only on the default event bus.")
    if schedule is not None:
        try:
            parse_rule_expression(schedule)
        except InvalidExpressionError:
            raise ValidationException("Parameter ScheduleExpression is not valid.") from None
    if pattern is not None:
        compiled(pattern)


async def describe_rule(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        rule = await found_rule(connection, call.home, named_bus(call, params), params["Name"])
    return {**shown(rule), "CreatedBy": call.home.account_id}


async def list_rules(ctx: EventsContext, call: Call, params: Params) -> Reply:
    bus, limit = named_bus(call, params), pages.size(params)
    async with ctx.registry.read() as connection:
        await found_bus(connection, call.home, bus)
        found = await rules.page(connection, call.home, bus, params.get("NamePrefix", ""), pages.after(params), limit + 1)
    return pages.page("Rules", found, limit, lambda rule: rule.name, shown)


async def list_rule_names_by_target(ctx: EventsContext, call: Call, params: Params) -> Reply:
    bus, limit = named_bus(call, params), pages.size(params)
    async with ctx.registry.read() as connection:
        await found_bus(connection, call.home, bus)
        names = await rules.names_by_target(connection, call.home, bus, params["TargetArn"], pages.after(params), limit + 1)
    return pages.page("RuleNames", names, limit, str, str)


async def enable_rule(ctx: EventsContext, call: Call, params: Params) -> Reply:
    return await _switch(ctx, call, params, RuleState.ENABLED)


async def disable_rule(ctx: EventsContext, call: Call, params: Params) -> Reply:
    return await _switch(ctx, call, params, RuleState.DISABLED)


async def _switch(ctx: EventsContext, call: Call, params: Params, state: RuleState) -> Reply:
    bus = named_bus(call, params)
    async with ctx.registry.write() as connection:
        await locked_bus(connection, call.home, bus)
        rule = await rules.find(connection, call.home, bus, params["Name"])
        if rule is None:
            raise no_rule(bus, params["Name"])
        await rules.change(connection, rule, state=state.value)
    ctx.changed(call.home, bus)
    return {}


async def delete_rule(ctx: EventsContext, call: Call, params: Params) -> Reply:
    """One that is not there is deleted already."""
    bus = named_bus(call, params)
    async with ctx.registry.write() as connection:
        await locked_bus(connection, call.home, bus)
        rule = await rules.find(connection, call.home, bus, params["Name"])
        if rule is None:
            return {}
        if await rules.target_ids(connection, rule):
            raise ValidationException("Rule can't be deleted since it has targets.")
        await rules.remove(connection, rule)
    ctx.changed(call.home, bus)
    return {}


def shown(rule: Rule) -> Reply:
    return {
        "Arn": rule.arn,
        "Description": rule.description,
        "EventBusName": rule.bus,
        "EventPattern": rule.pattern,
        "Name": rule.name,
        "RoleArn": rule.role_arn,
        "ScheduleExpression": rule.schedule,
        "State": rule.state.value,
    }
