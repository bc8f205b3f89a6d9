"""Event buses."""

from __future__ import annotations

import json
from typing import Any

from services.frontend.apis.events import pages, tags
from services.frontend.apis.events.context import EventsContext, Reply, found_bus, locked_bus, named_bus
from services.frontend.apis.events.errors import (
    LimitExceededException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ValidationException
from shared.domain.event_buses import BUSES_MAX, DEFAULT_BUS, Bus, bus_arn
from shared.registry.events import buses, rules

SETTINGS = ("KmsKeyIdentifier", "DeadLetterConfig", "LogConfig")


async def create_event_bus(ctx: EventsContext, call: Call, params: Params) -> Reply:
    name, settings = params["Name"], settings_of(params)
    if "/" in name:
        raise ValidationException("Event bus name must not contain '/'.")
    if params.get("EventSourceName"):
        raise ResourceNotFoundException(f"Event source {params['EventSourceName']} does not exist.")
    given = tags.listed(params.get("Tags"))
    async with ctx.registry.write() as connection:
        if await buses.count(connection, call.home) >= BUSES_MAX:
            raise LimitExceededException
        if name == DEFAULT_BUS or not await buses.create(
            connection, call.home, name, params.get("Description"), settings, given
        ):
            raise ResourceAlreadyExistsException(f"Event bus {name} already exists.")
    ctx.changed(call.home, name)
    return {"EventBusArn": bus_arn(call.home, name), "Description": params.get("Description"), **settings}


async def update_event_bus(ctx: EventsContext, call: Call, params: Params) -> Reply:
    name = named_bus(call, params, "Name")
    async with ctx.registry.write() as connection:
        bus = await locked_bus(connection, call.home, name)
        settings = {**bus.settings, **settings_of(params)}
        description = params.get("Description", bus.description)
        await buses.change(connection, call.home, name, description=description, settings=settings)
    ctx.changed(call.home, name)
    return {"Arn": bus.arn, "Name": name, "Description": description, **settings}


async def delete_event_bus(ctx: EventsContext, call: Call, params: Params) -> Reply:
    """One that is not there is deleted already."""
    name = named_bus(call, params, "Name")
    if name == DEFAULT_BUS:
        raise ValidationException("Cannot delete event bus default.")
    async with ctx.registry.write() as connection:
        if await buses.lock(connection, call.home, name) is not None and await rules.count(connection, call.home, name):
            raise ValidationException("EventBus can't be deleted since it has rules.")
        await buses.remove(connection, call.home, name)
    ctx.changed(call.home, name)
    return {}


async def describe_event_bus(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        bus = await found_bus(connection, call.home, named_bus(call, params, "Name"))
    return {**shown(bus), **bus.settings}


async def list_event_buses(ctx: EventsContext, call: Call, params: Params) -> Reply:
    limit, prefix = pages.size(params), params.get("NamePrefix", "")
    async with ctx.registry.read() as connection:
        await buses.find(connection, call.home, DEFAULT_BUS)
        found = await buses.page(connection, call.home, prefix, pages.after(params), limit + 1)
    return pages.page("EventBuses", found, limit, lambda bus: bus.name, shown)


def shown(bus: Bus) -> Reply:
    return {
        "Arn": bus.arn,
        "CreationTime": bus.created_ms / 1_000,
        "Description": bus.description,
        "LastModifiedTime": bus.modified_ms / 1_000,
        "Name": bus.name,
        "Policy": None if bus.policy is None else json.dumps(bus.policy, separators=(",", ":")),
    }


def settings_of(params: Params) -> dict[str, Any]:
    return {name: params[name] for name in SETTINGS if name in params}
