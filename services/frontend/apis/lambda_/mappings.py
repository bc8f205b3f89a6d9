"""Event source mappings: the five operations on them."""

from __future__ import annotations

import re
import uuid

import msgspec

from services.frontend.apis.lambda_ import mapping_rules as rules
from services.frontend.apis.lambda_ import mapping_settings, mapping_sources, naming, pages, tag_rules
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from services.frontend.apis.lambda_.mapping_reply import reply as mapping_reply
from services.frontend.apis.lambda_.mapping_sources import RULES
from shared.domain.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from shared.domain.mappings import (
    KAFKA_KINDS,
    ErrorHandling,
    EventSourceMapping,
    MappingState,
    SourceKind,
    state_reason,
)
from shared.domain.source_arns import kind_of_arn
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
    rules.check_place(kind, request)
    row = _made(kind, request)
    name, qualifier = await _existing_function(ctx, request)
    if kind is SourceKind.MSK:
        mapping_sources.check_cluster(ctx, request["EventSourceArn"])
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
        row = await mappings.find(connection, identity)
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
        rows = await mappings.page(connection, after, limit + 1, function=function, source_arn=source_arn)
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
        row = await mappings.lock(connection, identity)
        if row is None:
            raise _not_found()
        before = row.mapping
        if before.state is MappingState.DELETING:
            raise ResourceInUseException("Cannot update the event source mapping because it is in use.")
        mapping_sources.check_parameters(before.kind, request)
        group = mapping_settings.consumer_group(request)
        if group is not None and group != before.consumer_group_id:
            raise InvalidParameterValueException("The ConsumerGroupId of an event source mapping cannot be changed.")
        mapping, settings = rules.changed(before, row.settings, request)
        if target is not None:
            name, qualifier = target
            mapping = msgspec.structs.replace(
                mapping, function_name=name, qualifier=qualifier, function_arn=naming.arn(ctx, name, qualifier)
            )
        mapping = _touched(mapping, _next_state(before, mapping))
        row = await mappings.replace(connection, MappingRow(mapping, settings, row.tags))
    return mapping_reply(ctx, row)


async def delete_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    """Marks it; the poller lets go of its source and takes it away."""
    identity = _identity(request)
    async with ctx.registry.write() as connection:
        row = await mappings.lock(connection, identity)
        if row is None:
            raise _not_found()
        if row.mapping.state is MappingState.DELETING:
            raise ResourceInUseException("Cannot delete the event source mapping because it is in use.")
        mapping = _touched(row.mapping, MappingState.DELETING)
        row = await mappings.replace(connection, msgspec.structs.replace(row, mapping=mapping))
    return mapping_reply(ctx, row)


def _made(kind: SourceKind, request: Request) -> MappingRow:
    """The mapping that a request asks for; its function is filled in once it was found."""
    defaults = RULES[kind]
    identity = str(uuid.uuid4())
    start_s = request.get("StartingPositionTimestamp")
    mapping = EventSourceMapping(
        uuid=identity,
        kind=kind,
        function_name="",
        qualifier=None,
        function_arn="",
        source_arn=request.get("EventSourceArn") or None,
        bootstrap_servers=rules.endpoints(request),
        topics=tuple(request.get("Topics") or ()),
        consumer_group_id=mapping_settings.consumer_group(request) or identity,
        starting_position=request.get("StartingPosition") if defaults.has_start else None,
        starting_timestamp_ms=None if start_s is None else int(start_s * 1000),
        batch_size=defaults.batch_size,
        batching_window_s=defaults.window_s,
        filters=(),
        on_failure_arn=None,
        error_handling=ErrorHandling(),
        enabled=True,
        state=MappingState.CREATING,
        state_reason=state_reason(kind),
        last_processing_result=defaults.last_processing_result,
        last_modified_ms=now_ms(),
        revision=0,
    )
    mapping, settings = rules.changed(mapping, defaults.defaults, request)
    return MappingRow(mapping, settings, tag_rules.merged({}, request.get("Tags") or {}))


async def _existing_function(ctx: ControlContext, request: Request) -> tuple[str, str | None]:
    name, qualifier = naming.named(ctx, {"FunctionName": request["FunctionName"]})
    async with ctx.registry.read() as connection:
        if await functions.find(connection, name, qualifier) is None:
            raise InvalidParameterValueException("Function does not exist")
    return name, qualifier


def _touched(mapping: EventSourceMapping, state: MappingState) -> EventSourceMapping:
    return msgspec.structs.replace(mapping, state=state, state_reason=state_reason(mapping.kind), last_modified_ms=now_ms())


def _next_state(before: EventSourceMapping, after: EventSourceMapping) -> MappingState:
    if before.enabled == after.enabled:
        return MappingState.UPDATING
    return MappingState.ENABLING if after.enabled else MappingState.DISABLING


def _identity(request: Request) -> str:
    """Raises ResourceNotFoundException for what cannot be a mapping's identifier."""
    if not _UUID.fullmatch(request["UUID"]):
        raise _not_found()
    return str(request["UUID"]).lower()


def _not_found() -> ResourceNotFoundException:
    return ResourceNotFoundException("The resource you requested does not exist.")


def _exists(mapping: EventSourceMapping) -> ResourceConflictException:
    """AWS says it differently for each kind of source."""
    source = mapping.source_arn or ",".join(mapping.bootstrap_servers)
    name = mapping.function_name
    if mapping.kind is SourceKind.SQS:
        found = f'An event source mapping with SQS arn (" {source} ") and function (" {name} ") already exists.'
    elif mapping.kind in KAFKA_KINDS:
        topics = ",".join(mapping.topics)
        found = (
            f'An event source mapping with event source arn ("{source}"), function ("{mapping.function_arn}") '
            f'and topics ("{topics}") already exists.'
        )
    else:
        found = f'The event source arn (" {source} ") and function (" {name} ") provided mapping already exists.'
    return ResourceConflictException(f"{found} Please update or delete the existing mapping with UUID {mapping.uuid}")
