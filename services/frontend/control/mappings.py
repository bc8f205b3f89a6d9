"""Event source mappings."""

from __future__ import annotations

import uuid

import msgspec

from services.frontend.control import mapping_rules as rules
from services.frontend.control import naming, pages, tag_rules
from services.frontend.control.context import ControlContext, Reply, Request
from shared.domain.arns import mapping_arn
from shared.domain.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from shared.domain.mappings import EventSourceMapping, MappingState
from shared.registry import functions, mappings
from shared.registry.functions import now_ms
from shared.registry.records import MappingRow, MappingSettings

USER_INITIATED = "USER_INITIATED"
NOTHING_PROCESSED = "No records processed"
MAPPINGS_A_PAGE = 100


async def create_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    rules.check_kind(request)
    name, qualifier = await _existing_function(ctx, request)
    source = rules.kafka_source(ctx, request)
    rules.check_kafka(request)
    rules.check_start(request)
    identity = str(uuid.uuid4())
    start_s = request.get("StartingPositionTimestamp")
    enabled = request.get("Enabled", True)
    mapping = EventSourceMapping(
        uuid=identity,
        function_name=name,
        qualifier=qualifier,
        function_arn=naming.arn(ctx, name, qualifier),
        source_arn=source.source_arn,
        bootstrap_servers=source.bootstrap_servers,
        topics=rules.topics(request),
        consumer_group_id=_consumer_group(request) or identity,
        starting_position=request["StartingPosition"],
        starting_timestamp_ms=None if start_s is None else int(start_s * 1000),
        batch_size=rules.BATCH_SIZE_DEFAULT,
        batching_window_s=rules.WINDOW_S_DEFAULT,
        filters=(),
        on_failure_arn=None,
        enabled=enabled,
        state=MappingState.CREATING,
        state_reason=USER_INITIATED,
        last_processing_result=NOTHING_PROCESSED,
        last_modified_ms=now_ms(),
        revision=0,
    )
    row = MappingRow(
        rules.changed(mapping, request),
        rules.changed_settings(MappingSettings(), request),
        tag_rules.merged({}, request.get("Tags") or {}),
    )
    async with ctx.registry.write() as connection:
        await mappings.serialise(connection)
        for other in await mappings.same_source(connection, row.mapping):
            if other.mapping.topics == mapping.topics and other.mapping.function_arn == mapping.function_arn:
                raise _exists(other.mapping)
        created = await mappings.create(connection, row)
    if created is None:
        raise ResourceConflictException(
            f"The consumer group {row.mapping.consumer_group_id} is already used by another event source mapping."
        )
    return _reply(ctx, created)


async def get_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    async with ctx.registry.read() as connection:
        row = await mappings.find(connection, request["UUID"])
    if row is None:
        raise _not_found()
    return _reply(ctx, row)


async def list_event_source_mappings(ctx: ControlContext, request: Request) -> Reply:
    function_arn = None
    if request.get("FunctionName"):
        function_arn = naming.arn(ctx, *naming.named(ctx, request))
    limit = pages.size(request, most=MAPPINGS_A_PAGE)
    after = pages.after(request, str, "")
    async with ctx.registry.read() as connection:
        rows = await mappings.page(
            connection, after, limit + 1, function_arn=function_arn, source_arn=request.get("EventSourceArn")
        )
    found, more = pages.cut(rows, limit)
    reply: Reply = {"EventSourceMappings": [_reply(ctx, row) for row in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].mapping.uuid)
    return reply


async def update_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    """The poller takes the change up and says so by the next state."""
    target = await _existing_function(ctx, request) if request.get("FunctionName") else None
    async with ctx.registry.write() as connection:
        row = await mappings.lock(connection, request["UUID"])
        if row is None:
            raise _not_found()
        if row.mapping.state is MappingState.DELETING:
            raise ResourceInUseException("Cannot update the event source mapping because it is in use.")
        rules.check_kind({**request, "EventSourceArn": row.mapping.source_arn or "self-managed"})
        rules.check_kafka(request)
        group = _consumer_group(request)
        if group is not None and group != row.mapping.consumer_group_id:
            raise InvalidParameterValueException("The ConsumerGroupId of an event source mapping cannot be changed.")
        mapping = rules.changed(row.mapping, request)
        if target is not None:
            name, qualifier = target
            mapping = msgspec.structs.replace(
                mapping, function_name=name, qualifier=qualifier, function_arn=naming.arn(ctx, name, qualifier)
            )
        mapping = msgspec.structs.replace(
            mapping, state=_next_state(row.mapping, mapping), state_reason=USER_INITIATED, last_modified_ms=now_ms()
        )
        row = MappingRow(mapping, rules.changed_settings(row.settings, request), row.tags)
        row = await mappings.replace(connection, row)
    return _reply(ctx, row)


async def delete_event_source_mapping(ctx: ControlContext, request: Request) -> Reply:
    """Marks it; the poller lets go of its source and takes it away."""
    async with ctx.registry.write() as connection:
        row = await mappings.lock(connection, request["UUID"])
        if row is None:
            raise _not_found()
        if row.mapping.state is MappingState.DELETING:
            raise ResourceInUseException("Cannot delete the event source mapping because it is in use.")
        mapping = msgspec.structs.replace(
            row.mapping, state=MappingState.DELETING, state_reason=USER_INITIATED, last_modified_ms=now_ms()
        )
        row = await mappings.replace(connection, msgspec.structs.replace(row, mapping=mapping))
    return _reply(ctx, row)


async def _existing_function(ctx: ControlContext, request: Request) -> tuple[str, str | None]:
    name, qualifier = naming.named(ctx, {"FunctionName": request["FunctionName"]})
    async with ctx.registry.read() as connection:
        if await functions.find(connection, name, qualifier) is None:
            raise InvalidParameterValueException("Function does not exist")
    return name, qualifier


def _consumer_group(request: Request) -> str | None:
    for parameter in ("AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"):
        group = (request.get(parameter) or {}).get("ConsumerGroupId")
        if group is not None:
            return str(group)
    return None


def _next_state(before: EventSourceMapping, after: EventSourceMapping) -> MappingState:
    if before.enabled == after.enabled:
        return MappingState.UPDATING
    return MappingState.ENABLING if after.enabled else MappingState.DISABLING


def _not_found() -> ResourceNotFoundException:
    return ResourceNotFoundException("The resource you requested does not exist.")


def _exists(mapping: EventSourceMapping) -> ResourceConflictException:
    source = mapping.source_arn or ",".join(mapping.bootstrap_servers)
    return ResourceConflictException(
        f'The event source arn (" {source} ") and function (" {mapping.function_name} ") provided mapping already exists. '
        f"Please update or delete the existing mapping with UUID {mapping.uuid}"
    )


def _reply(ctx: ControlContext, row: MappingRow) -> Reply:
    mapping, settings = row.mapping, row.settings
    start_ms = mapping.starting_timestamp_ms
    reply: Reply = {
        "UUID": mapping.uuid,
        "StartingPosition": mapping.starting_position,
        "StartingPositionTimestamp": None if start_ms is None else start_ms / 1000,
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": settings.batching_window_s,
        "EventSourceArn": mapping.source_arn,
        "FilterCriteria": {"Filters": [{"Pattern": one} for one in mapping.filters]} if mapping.filters else None,
        "FunctionArn": mapping.function_arn,
        "LastModified": mapping.last_modified_ms / 1000,
        "LastProcessingResult": mapping.last_processing_result,
        "State": mapping.state.value,
        "StateTransitionReason": mapping.state_reason,
        "DestinationConfig": {"OnFailure": {"Destination": mapping.on_failure_arn} if mapping.on_failure_arn else {}},
        "Topics": list(mapping.topics),
        "SourceAccessConfigurations": [{"Type": kind, "URI": uri} for kind, uri in settings.source_access] or None,
        "MaximumRecordAgeInSeconds": settings.record_age_s_max,
        "BisectBatchOnFunctionError": settings.bisect_on_error,
        "MaximumRetryAttempts": settings.retry_attempts_max,
        "FunctionResponseTypes": list(settings.function_response_types) or None,
        "EventSourceMappingArn": mapping_arn(ctx.settings.region, ctx.settings.account_id, mapping.uuid),
    }
    group = {"ConsumerGroupId": mapping.consumer_group_id}
    if mapping.source_arn is not None:
        reply["AmazonManagedKafkaEventSourceConfig"] = group
    else:
        reply["SelfManagedEventSource"] = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": list(mapping.bootstrap_servers)}}
        reply["SelfManagedKafkaEventSourceConfig"] = group
    return {key: value for key, value in reply.items() if value is not None}
