"""Tags of buses and rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.frontend.apis.events.context import EventsContext, Reply, found_bus, found_rule, locked_bus
from services.frontend.apis.events.errors import LimitExceededException, ResourceNotFoundException, no_bus
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import Home, home_of
from shared.domain.errors import ValidationException
from shared.domain.event_buses import DEFAULT_BUS, Tags
from shared.registry.events import buses, rules

TAGS_MAX = 50


def listed(given: Sequence[dict[str, str]] | None) -> Tags:
    """As they are kept. Raises ValidationException, LimitExceededException."""
    return added([], given or [])


def added(held: Tags, given: Sequence[dict[str, str]]) -> Tags:
    """A key that there is gets its new value where it stands."""
    values = {tag["Key"]: tag["Value"] for tag in held}
    keys = [tag["Key"] for tag in given]
    if len(set(keys)) < len(keys):
        raise ValidationException("Duplicate tag keys are not allowed.")
    values.update({tag["Key"]: tag["Value"] for tag in given})
    if len(values) > TAGS_MAX:
        raise LimitExceededException
    return [{"Key": key, "Value": value} for key, value in values.items()]


async def tag_resource(ctx: EventsContext, call: Call, params: Params) -> Reply:
    await _change(ctx, call, params["ResourceARN"], lambda held: added(held, params["Tags"]))
    return {}


async def untag_resource(ctx: EventsContext, call: Call, params: Params) -> Reply:
    gone = set(params["TagKeys"])
    await _change(ctx, call, params["ResourceARN"], lambda held: [tag for tag in held if tag["Key"] not in gone])
    return {}


async def list_tags_for_resource(ctx: EventsContext, call: Call, params: Params) -> Reply:
    bus, rule = _resource(call.home, params["ResourceARN"])
    async with ctx.registry.read() as connection:
        if rule is None:
            return {"Tags": (await found_bus(connection, call.home, bus)).tags}
        return {"Tags": (await found_rule(connection, call.home, bus, rule)).tags}


async def _change(ctx: EventsContext, call: Call, arn: str, change: Callable[[Tags], Tags]) -> None:
    bus_name, rule_name = _resource(call.home, arn)
    async with ctx.registry.write() as connection:
        bus = await locked_bus(connection, call.home, bus_name)
        if rule_name is None:
            await buses.change(connection, call.home, bus_name, tags=change(bus.tags))
        else:
            rule = await found_rule(connection, call.home, bus_name, rule_name)
            await rules.change(connection, rule, tags=change(rule.tags))
    ctx.changed(call.home, bus_name)


def _resource(home: Home, arn: str) -> tuple[str, str | None]:
    """The bus, and the rule unless it is the bus that is meant. Raises ValidationException, ResourceNotFoundException."""
    parts = arn.split(":", 5)
    kind, _, name = parts[-1].partition("/")
    if len(parts) != 6 or parts[2] != "events" or kind not in ("event-bus", "rule") or not name:
        raise ValidationException("Parameter ResourceARN is not valid. Reason: Provided Arn is not in correct format.")
    if kind == "event-bus":
        bus, rule = name, None
    else:
        path, _, last = name.rpartition("/")
        bus, rule = path or DEFAULT_BUS, last
    if home_of(arn) != home:
        raise no_bus(bus) if rule is None else ResourceNotFoundException(f"Rule {rule} does not exist on EventBus {bus}.")
    return bus, rule
