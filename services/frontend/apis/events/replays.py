"""Replays: events of an archive put on their bus again. Routers run them (services/router/events/replays.py)."""

from __future__ import annotations

from services.frontend.apis.events import pages
from services.frontend.apis.events.context import EventsContext, Reply, found_bus
from services.frontend.apis.events.errors import (
    IllegalStatusException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
    no_bus,
)
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import home_of
from shared.domain.errors import ValidationException
from shared.domain.event_buses import Archive, Replay, ReplayState, archive_arn, bus_name
from shared.registry.events import archives, replays
from shared.registry.events.buses import now_ms

ARCHIVE = ":archive/"


async def start_replay(ctx: EventsContext, call: Call, params: Params) -> Reply:
    begin_ms, end_ms = int(params["EventStartTime"] * 1_000), int(params["EventEndTime"] * 1_000)
    if begin_ms >= end_ms:
        raise ValidationException("Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.")
    source, destination = params["EventSourceArn"], params["Destination"]
    archive_name, bus = source.rpartition("/")[2], bus_name(destination["Arn"])
    async with ctx.registry.write() as connection:
        archive = None
        if ARCHIVE in source and home_of(source) == call.home:
            archive = await archives.find(connection, call.home, archive_name)
        if archive is None:
            raise ValidationException(f"Parameter EventSourceArn is not valid. Reason: Archive {archive_name} does not exist.")
        if ":event-bus/" not in destination["Arn"]:
            raise ValidationException("Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.")
        if home_of(destination["Arn"]) != call.home:
            raise no_bus(bus)
        await found_bus(connection, call.home, bus)
        _require_same_bus(archive, bus)
        replay = Replay(
            call.home,
            params["ReplayName"],
            archive.name,
            params.get("Description"),
            destination,
            begin_ms,
            end_ms,
            ReplayState.STARTING,
            now_ms(),
        )
        if not await replays.create(connection, replay):
            raise ResourceAlreadyExistsException(f"Replay {replay.name} already exists.")
    return {"ReplayArn": replay.arn, "ReplayStartTime": replay.started_ms / 1_000, "State": replay.state.value}


def _require_same_bus(archive: Archive, bus: str) -> None:
    if archive.bus != bus:
        raise ValidationException("Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.")


async def cancel_replay(ctx: EventsContext, call: Call, params: Params) -> Reply:
    name = params["ReplayName"]
    async with ctx.registry.write() as connection:
        cancelled = await replays.cancel(connection, call.home, name)
        replay = await replays.find(connection, call.home, name)
    if replay is None:
        raise _missing(name)
    if not cancelled:
        raise IllegalStatusException(f"Replay {name} is not in a valid state for this operation.")
    return {"ReplayArn": replay.arn, "State": replay.state.value}


async def describe_replay(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        replay = await replays.find(connection, call.home, params["ReplayName"])
    if replay is None:
        raise _missing(params["ReplayName"])
    return {
        **_shown(replay),
        "Description": replay.description,
        "Destination": replay.destination,
        "ReplayArn": replay.arn,
    }


async def list_replays(ctx: EventsContext, call: Call, params: Params) -> Reply:
    if sum(name in params for name in ("State", "EventSourceArn", "NamePrefix")) > 1:
        raise ValidationException(
            "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix."
        )
    source, limit, after = params.get("EventSourceArn"), pages.size(params), pages.after(params)
    async with ctx.registry.read() as connection:
        found = await replays.page(
            connection,
            call.home,
            after,
            limit + 1,
            prefix=params.get("NamePrefix", ""),
            archive=None if source is None else source.rpartition("/")[2],
            state=params.get("State"),
        )
    return pages.page("Replays", found, limit, lambda replay: replay.name, _shown)


def _missing(name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Replay {name} does not exist.")


def _shown(replay: Replay) -> Reply:
    return {
        "EventEndTime": replay.end_ms / 1_000,
        "EventLastReplayedTime": _moment(replay.last_replayed_ms),
        "EventSourceArn": archive_arn(replay.home, replay.archive),
        "EventStartTime": replay.start_ms / 1_000,
        "ReplayEndTime": _moment(replay.ended_ms),
        "ReplayName": replay.name,
        "ReplayStartTime": replay.started_ms / 1_000,
        "State": replay.state.value,
        "StateReason": replay.reason,
    }


def _moment(at_ms: int | None) -> float | None:
    return None if at_ms is None else at_ms / 1_000
