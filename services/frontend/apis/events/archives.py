"""Archives: events of a bus that are kept, to be replayed."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.events import pages
from services.frontend.apis.events.context import EventsContext, Reply, locked_bus, named_bus
from services.frontend.apis.events.errors import (
    LimitExceededException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from services.frontend.apis.events.patterns import compiled
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ValidationException
from shared.domain.event_buses import ARCHIVES_MAX, Archive, archive_arn, bus_arn, bus_name
from shared.registry.events import archives
from shared.registry.events.buses import now_ms

STATE = "ENABLED"
"""The only one: what cannot be made is refused."""
RETENTION_DAYS_MAX = 36_500


async def create_archive(ctx: EventsContext, call: Call, params: Params) -> Reply:
    name, bus = params["ArchiveName"], named_bus(call, params, "EventSourceArn")
    pattern = _checked(params)
    topic, retention_days = ctx.topics.name(), int(params.get("RetentionDays") or 0)
    archive = Archive(
        call.home, name, bus, params.get("Description"), pattern, retention_days, _settings(params), topic, now_ms()
    )
    async with ctx.registry.write() as connection:
        await locked_bus(connection, call.home, bus)
        if await archives.count(connection, call.home) >= ARCHIVES_MAX:
            raise LimitExceededException
        if not await archives.create(connection, archive):
            raise ResourceAlreadyExistsException(f"Archive {name} already exists.")
        # Before the commit: an archive that is seen has its topic.
        await ctx.topics.create(topic, retention_days)
    ctx.changed(call.home, bus)
    return _made(archive)


async def update_archive(ctx: EventsContext, call: Call, params: Params) -> Reply:
    if not any(name in params for name in ("EventPattern", "RetentionDays", "Description", "KmsKeyIdentifier")):
        raise ValidationException("At least one of EventPattern, RetentionDays or Description must be provided.")
    pattern = _checked(params)
    async with ctx.registry.write() as connection:
        archive = await _locked(connection, call, params["ArchiveName"])
        changes: dict[str, Any] = {}
        if "EventPattern" in params:
            changes["pattern"] = pattern
        if "Description" in params:
            changes["description"] = params["Description"]
        if "RetentionDays" in params:
            changes["retention_days"] = int(params["RetentionDays"])
            await ctx.topics.keep_for(archive.topic, int(params["RetentionDays"]))
        if "KmsKeyIdentifier" in params:
            changes["settings"] = _settings(params)
        await archives.change(connection, archive, **changes)
    ctx.changed(call.home, archive.bus)
    return _made(archive)


async def delete_archive(ctx: EventsContext, call: Call, params: Params) -> Reply:
    """With the events that it has."""
    async with ctx.registry.write() as connection:
        archive = await _locked(connection, call, params["ArchiveName"])
        await archives.remove(connection, archive)
    ctx.changed(call.home, archive.bus)
    await ctx.topics.delete(archive.topic)
    return {}


async def describe_archive(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        archive = await archives.find(connection, call.home, params["ArchiveName"])
    if archive is None:
        raise _missing(params["ArchiveName"])
    return {
        "ArchiveArn": archive.arn,
        **_shown(archive),
        "Description": archive.description,
        "EventPattern": archive.pattern,
        **archive.settings,
    }


async def list_archives(ctx: EventsContext, call: Call, params: Params) -> Reply:
    if sum(name in params for name in ("State", "EventSourceArn", "NamePrefix")) > 1:
        raise ValidationException(
            "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix."
        )
    source, limit, after = params.get("EventSourceArn"), pages.size(params), pages.after(params)
    if source is not None and source != bus_arn(call.home, bus_name(source)):
        return {"Archives": []}
    if params.get("State", STATE) != STATE:
        return {"Archives": []}
    async with ctx.registry.read() as connection:
        found = await archives.page(
            connection,
            call.home,
            after,
            limit + 1,
            prefix=params.get("NamePrefix", ""),
            bus=None if source is None else bus_name(source),
        )
    return pages.page("Archives", found, limit, lambda archive: archive.name, _shown)


async def _locked(connection: Any, call: Call, name: str) -> Archive:
    """The archive, its bus locked before it. Raises ResourceNotFoundException."""
    archive = await archives.find(connection, call.home, name, lock=True)
    if archive is None:
        raise _missing(name)
    return archive


def _missing(name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Archive {name} does not exist.")


def _checked(params: Params) -> str | None:
    """The pattern. Raises InvalidEventPatternException, ValidationException."""
    if int(params.get("RetentionDays") or 0) > RETENTION_DAYS_MAX:
        raise ValidationException("Parameter RetentionDays is not valid. Reason: it is more than a hundred years.")
    pattern = params.get("EventPattern") or None
    if pattern is not None:
        compiled(pattern)
    return pattern


def _settings(params: Params) -> dict[str, Any]:
    return {name: params[name] for name in ("KmsKeyIdentifier",) if name in params}


def _made(archive: Archive) -> Reply:
    return {
        "ArchiveArn": archive_arn(archive.home, archive.name),
        "CreationTime": archive.created_ms / 1_000,
        "State": STATE,
    }


def _shown(archive: Archive) -> Reply:
    return {
        "ArchiveName": archive.name,
        "CreationTime": archive.created_ms / 1_000,
        "EventCount": archive.events,
        "EventSourceArn": bus_arn(archive.home, archive.bus),
        "RetentionDays": archive.retention_days,
        "SizeBytes": archive.size_bytes,
        "State": STATE,
    }
