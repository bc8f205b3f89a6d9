"""API destinations: addresses that targets may name, each with a connection."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from services.frontend.apis.events import addresses, pages
from services.frontend.apis.events.context import EventsContext, Reply
from services.frontend.apis.events.errors import (
    LimitExceededException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.registry.events import connections
from shared.registry.events.buses import now_ms
from shared.registry.events.connections import AUTHORIZED, ApiDestination, EventConnection

API_DESTINATIONS_MAX = 3_000
RATE_LIMIT = 300
SETTINGS = ("ConnectionArn", "Description", "HttpMethod", "InvocationEndpoint", "InvocationRateLimitPerSecond")


async def create_api_destination(ctx: EventsContext, call: Call, params: Params) -> Reply:
    at = now_ms()
    settings = {"InvocationRateLimitPerSecond": RATE_LIMIT, **_settings(params)}
    addresses.check(settings["InvocationEndpoint"], "InvocationEndpoint")
    made = ApiDestination(call.home, params["Name"], str(uuid.uuid4()), settings, at, at)
    async with ctx.registry.write() as connection:
        state = _state(await _connection(connection, call, settings["ConnectionArn"]))
        if await connections.find_destination(connection, call.home, made.name, lock=True) is not None:
            raise ResourceAlreadyExistsException(f"An api-destination '{made.name}' already exists.")
        if await connections.count_destinations(connection, call.home) >= API_DESTINATIONS_MAX:
            raise LimitExceededException
        await connections.put_destination(connection, made)
    return {"ApiDestinationState": state, **_told(made)}


async def update_api_destination(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.write() as connection:
        held = await connections.find_destination(connection, call.home, params["Name"], lock=True)
        if held is None:
            raise _missing("update", params["Name"])
        settings = {**held.settings, **_settings(params)}
        addresses.check(settings["InvocationEndpoint"], "InvocationEndpoint")
        state = _state(await _connection(connection, call, settings["ConnectionArn"]))
        made = msgspec.structs.replace(held, settings=settings, modified_ms=now_ms())
        await connections.put_destination(connection, made)
    return {"ApiDestinationState": state, **_told(made)}


async def delete_api_destination(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.write() as connection:
        held = await connections.find_destination(connection, call.home, params["Name"], lock=True)
        if held is None:
            raise _missing("delete", params["Name"])
        await connections.remove_destination(connection, held)
    return {}


async def describe_api_destination(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        held = await connections.find_destination(connection, call.home, params["Name"])
        if held is None:
            raise _missing("describe", params["Name"])
        state = _state(await connections.find(connection, call.home, _connection_name(held)))
    return {"ApiDestinationState": state, **_told(held), **held.settings, "Name": held.name}


async def list_api_destinations(ctx: EventsContext, call: Call, params: Params) -> Reply:
    limit, prefix, wanted = pages.size(params), params.get("NamePrefix", ""), params.get("ConnectionArn")
    async with ctx.registry.read() as connection:
        found = await connections.page_destinations(connection, call.home, prefix, wanted, pages.after(params), limit + 1)
        states = {
            name: _state(await connections.find(connection, call.home, name))
            for name in sorted({_connection_name(held) for held in found})
        }

    def listed(held: ApiDestination) -> Reply:
        settings = {name: value for name, value in held.settings.items() if name != "Description"}
        return {"ApiDestinationState": states[_connection_name(held)], **_told(held), **settings, "Name": held.name}

    return pages.page("ApiDestinations", found, limit, lambda held: held.name, listed)


def _connection_name(held: ApiDestination) -> str:
    return [*str(held.settings["ConnectionArn"]).split("/"), ""][1]


async def _connection(connection: Any, call: Call, arn: str) -> EventConnection:
    name = [*arn.split("/"), ""][1]
    found = await connections.find(connection, call.home, name)
    if found is None or found.arn != arn:
        raise ResourceNotFoundException(f"Connection '{arn}' does not exist.")
    return found


def _state(found: EventConnection | None) -> str:
    return "ACTIVE" if found is not None and found.state == AUTHORIZED else "INACTIVE"


def _told(held: ApiDestination) -> Reply:
    return {
        "ApiDestinationArn": held.arn,
        "CreationTime": held.created_ms / 1_000,
        "LastModifiedTime": held.modified_ms / 1_000,
    }


def _settings(params: Params) -> dict[str, Any]:
    return {name: params[name] for name in SETTINGS if name in params}


def _missing(verb: str, name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Failed to {verb} the api-destination(s). An api-destination '{name}' does not exist.")
