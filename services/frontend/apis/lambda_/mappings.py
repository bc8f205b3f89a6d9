"""Event source mappings: the five operations on them."""

from __future__ import annotations

import re
import uuid

import msgspec

from services.frontend.apis.lambda_ import mapping_rules as rules
from services.frontend.apis.lambda_ import mapping_settings, mapping_sources, naming, pages, tag_rules
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from services.frontend.apis.lambda_.mapping_reply import reply as mapping_reply
from shared.domain.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from shared.domain.mappings import ErrorHandling, EventSourceMapping, MappingState, SourceKind
from shared.domain.mappings.catalogue import kind_of_arn, rules_of
from shared.domain.mappings.machine import IllegalTransitionError, MappingEvent, advance, owners_event
from shared.registry import functions, mappings
from shared.registry.functions import now_ms
from shared.registry.records import MappingRow

MAPPINGS_A_PAGE = 100
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


async def create_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    """What the request alone shows to be wrong is refused before the function is looked up."""
    kind = mapping_sources.kind_of(request)
    mapping_sources.check_parameters(kind, request)
    rules.check_start(kind, request)
    mapping_sources.check_place(ctx, kind, request)
    row = _made(ctx, kind, request)
    name, qualifier = await _existing_function(ctx, request)
    mapping_sources.check_cluster(ctx, request)
    mapping_sources.check_internal(ctx, row.mapping)
    mapping = msgspec.structs.replace(
        row.mapping, function_name=name, qualifier=qualifier, function_arn=naming.arn(ctx, name, qualifier)
    )
    row = msgspec.structs.replace(row, mapping=mapping)
    async with ctx.registry.write() as connection:
        await mappings.serialise(connection)
        for other in await mappings.same_source(connection, mapping):
            if other.mapping.topics == mapping.topics and other.mapping.function_arn == mapping.function_arn:
                raise _exists(other.mapping)
        created = await mappings.create(connection, row)
    if created is None:
        raise ResourceConflictException(
            f"The consumer group {mapping.consumer_group_id} is already used by another event source mapping."
        )
    return mapping_reply(ctx, created)


async def get_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    identity = _identity(request)
    async with ctx.registry.read() as connection:
        row = await mappings.find(connection, ctx.home, identity)
    if row is None:
        raise _not_found()
    return mapping_reply(ctx, row)


async def list_event_source_mappings(ctx: ControlContext, request: Request) -> Reply:
    """Neither the function nor the source that is asked for need exist."""
    function = None
    if request.get("FunctionName"):
        name, qualifier = naming.named(ctx, {"FunctionName": request["FunctionName"]})
        function = (name, naming.arn(ctx, name, qualifier))
    limit = pages.size(request, most=MAPPINGS_A_PAGE)
    after = pages.after(request, str, "")
    source_arn = request.get("EventSourceArn") or None
    if source_arn is not None and kind_of_arn(source_arn) is None:
        return {"EventSourceMappings": []}
    async with ctx.registry.read() as connection:
        rows = await mappings.page(connection, ctx.home, after, limit + 1, function=function, source_arn=source_arn)
    found, more = pages.cut(rows, limit)
    reply: Reply = {"EventSourceMappings": [mapping_reply(ctx, row, listed=True) for row in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].mapping.uuid)
    return reply


async def update_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    """The poller takes the change up and says so by the next state."""
    identity = _identity(request)
    target = await _existing_function(ctx, request) if request.get("FunctionName") else None
    async with ctx.registry.write() as connection:
        row = await mappings.lock(connection, ctx.home, identity)
        if row is None:
            raise _not_found()
        before = row.mapping
        _advanced(before, MappingEvent.OWNER_CHANGES)
        mapping_sources.check_parameters(before.kind, request)
        group = mapping_settings.consumer_group(request)
        if group is not None and group != before.consumer_group_id:
            raise InvalidParameterValueException("The ConsumerGroupId of an event source mapping cannot be changed.")
        mapping = rules.changed(before, request)
        mapping_sources.check_internal(ctx, mapping)
        if target is not None:
            name, qualifier = target
            mapping = msgspec.structs.replace(
                mapping, function_name=name, qualifier=qualifier, function_arn=naming.arn(ctx, name, qualifier)
            )
        state = _advanced(before, owners_event(was_enabled=before.enabled, is_enabled=mapping.enabled))
        mapping = _touched(mapping, state)
        row = await mappings.replace(connection, MappingRow(mapping, row.tags))
    return mapping_reply(ctx, row)


async def delete_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    """Marks it; the poller lets go of its source and takes it away."""
    identity = _identity(request)
    async with ctx.registry.write() as connection:
        row = await mappings.lock(connection, ctx.home, identity)
        if row is None:
            raise _not_found()
        mapping = _touched(row.mapping, _advanced(row.mapping, MappingEvent.OWNER_DELETES))
        row = await mappings.replace(connection, msgspec.structs.replace(row, mapping=mapping))
    return mapping_reply(ctx, row)


def _made(ctx: ControlContext, kind: SourceKind, request: Request) -> MappingRow:
    """The mapping that a request asks for; its function is filled in once it was found."""
    defaults = rules_of(kind)
    identity = str(uuid.uuid4())
    start_s = request.get("StartingPositionTimestamp")
    mapping = EventSourceMapping(
        uuid=identity,
        region=ctx.home.region,
        kind=kind,
        function_name="",
        qualifier=None,
        function_arn="",
        source_arn=request.get("EventSourceArn") or None,
        bootstrap_servers=mapping_sources.endpoints(request),
        topics=tuple(request.get("Topics") or ()),
        consumer_group_id=mapping_settings.consumer_group(request) or identity,
        starting_position=(request.get("StartingPosition") or defaults.start_default) if defaults.has_start else None,
        starting_timestamp_ms=None if start_s is None else int(start_s * 1000),
        batch_size=defaults.batch_size,
        batching_window_s=defaults.window_s,
        filters=(),
        on_failure_arn=None,
        error_handling=ErrorHandling(),
        enabled=True,
        state=MappingState.CREATING,
        state_reason=defaults.state_reason,
        last_processing_result=defaults.last_processing_result,
        last_modified_ms=now_ms(),
        revision=0,
        settings=defaults.defaults,
    )
    return MappingRow(rules.changed(mapping, request), tag_rules.merged({}, request.get("Tags") or {}))


async def _existing_function(ctx: ControlContext, request: Request) -> tuple[str, str | None]:
    name, qualifier = naming.named(ctx, {"FunctionName": request["FunctionName"]})
    async with ctx.registry.read() as connection:
        if await functions.find(connection, ctx.home, name, qualifier) is None:
            raise InvalidParameterValueException("Function does not exist")
    return name, qualifier


def _touched(mapping: EventSourceMapping, state: MappingState) -> EventSourceMapping:
    reason = rules_of(mapping.kind).state_reason
    return msgspec.structs.replace(mapping, state=state, state_reason=reason, last_modified_ms=now_ms())


def _advanced(mapping: EventSourceMapping, event: MappingEvent) -> MappingState:
    """The state after what its owner asks for. Raises ResourceInUseException when nothing can be asked for any more."""
    try:
        state = advance(mapping.state, event)
    except IllegalTransitionError:
        verb = "delete" if event is MappingEvent.OWNER_DELETES else "update"
        raise ResourceInUseException(f"Cannot {verb} the event source mapping because it is in use.") from None
    assert state is not None, "only a poller takes a mapping away"
    return state


def _identity(request: Request) -> str:
    """Raises ResourceNotFoundException for what cannot be a mapping's identifier."""
    if not _UUID.fullmatch(request["UUID"]):
        raise _not_found()
    return str(request["UUID"]).lower()


def _not_found() -> ResourceNotFoundException:
    return ResourceNotFoundException("The resource you requested does not exist.")


def _exists(mapping: EventSourceMapping) -> ResourceConflictException:
    """AWS says it differently for each kind of source."""
    found = rules_of(mapping.kind).already_exists.format(
        source=mapping.source_arn or ",".join(mapping.bootstrap_servers),
        name=mapping.function_name,
        function_arn=mapping.function_arn,
        topics=",".join(mapping.topics),
    )
    return ResourceConflictException(f"{found} Please update or delete the existing mapping with UUID {mapping.uuid}")
