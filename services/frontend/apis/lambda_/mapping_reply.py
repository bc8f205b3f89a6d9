"""How an event source mapping looks in a reply: which settings are shown depends on its source."""

from __future__ import annotations

from services.frontend.apis.lambda_.context import ControlContext, Reply
from shared.domain.arns import mapping_arn
from shared.domain.mappings import EventSourceMapping, MappingSettings, ProvisionedPollers, SchemaRegistry
from shared.domain.mappings.catalogue import rules_of
from shared.registry.records import MappingRow


def reply(ctx: ControlContext, row: MappingRow, *, listed: bool = False) -> Reply:
    """listed: in a list of mappings, where filters that were encrypted with the owner's key are left out."""
    mapping, settings = row.mapping, row.mapping.settings
    rules = rules_of(mapping.kind)
    start_ms = mapping.starting_timestamp_ms
    shown: Reply = {
        "UUID": mapping.uuid,
        "StartingPosition": mapping.starting_position,
        "StartingPositionTimestamp": None if start_ms is None else start_ms / 1000,
        "BatchSize": mapping.batch_size,
        "MaximumBatchingWindowInSeconds": settings.batching_window_s,
        "ParallelizationFactor": settings.parallelization_factor,
        "EventSourceArn": mapping.source_arn,
        "FilterCriteria": None if listed and settings.kms_key_arn else _filters(mapping),
        "KMSKeyArn": settings.kms_key_arn,
        "MetricsConfig": None if settings.metrics is None else {"Metrics": list(settings.metrics)},
        "LoggingConfig": None if settings.log_level is None else {"SystemLogLevel": settings.log_level},
        "ScalingConfig": None if settings.concurrency_max is None else {"MaximumConcurrency": settings.concurrency_max},
        "FunctionArn": mapping.function_arn,
        "LastModified": mapping.last_modified_ms / 1000,
        "LastProcessingResult": mapping.last_processing_result or None,
        "State": mapping.state.value,
        "StateTransitionReason": mapping.state_reason,
        "DestinationConfig": _destination(mapping) if rules.has_destination else None,
        "Topics": list(mapping.topics) or None,
        "Queues": list(settings.queues) or None,
        "SourceAccessConfigurations": [{"Type": kind, "URI": uri} for kind, uri in settings.source_access] or None,
        "MaximumRecordAgeInSeconds": settings.record_age_s_max,
        "BisectBatchOnFunctionError": settings.bisect_on_error,
        "MaximumRetryAttempts": settings.retry_attempts_max,
        "TumblingWindowInSeconds": settings.tumbling_window_s,
        "FunctionResponseTypes": None if settings.function_response_types is None else list(settings.function_response_types),
        "EventSourceMappingArn": mapping_arn(ctx.home, mapping.uuid),
        "ProvisionedPollerConfig": _pollers(settings.pollers),
        "DocumentDBEventSourceConfig": _document_db(settings),
        "SelfManagedEventSource": _endpoints(mapping),
        **({} if rules.group_parameter is None else {rules.group_parameter: _group(mapping, settings)}),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _filters(mapping: EventSourceMapping) -> Reply | None:
    return {"Filters": [{"Pattern": one} for one in mapping.filters]} if mapping.filters else None


def _destination(mapping: EventSourceMapping) -> Reply:
    return {"OnFailure": {"Destination": mapping.on_failure_arn} if mapping.on_failure_arn else {}}


def _pollers(pollers: ProvisionedPollers | None) -> Reply | None:
    if pollers is None:
        return None
    return {
        "MinimumPollers": pollers.minimum,
        "MaximumPollers": pollers.maximum,
        **({"PollerGroupName": pollers.group} if pollers.group else {}),
    }


def _document_db(settings: MappingSettings) -> Reply | None:
    database = settings.document_db
    if database is None:
        return None
    return {
        "DatabaseName": database.database,
        "CollectionName": database.collection,
        "FullDocument": database.full_document,
    }


def _endpoints(mapping: EventSourceMapping) -> Reply | None:
    if not mapping.bootstrap_servers:
        return None
    return {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": list(mapping.bootstrap_servers)}}


def _group(mapping: EventSourceMapping, settings: MappingSettings) -> Reply:
    config: Reply = {
        "ConsumerGroupId": mapping.consumer_group_id,
        "SchemaRegistryConfig": None if settings.schema_registry is None else _schema_registry(settings.schema_registry),
        "ConsumptionMode": settings.consumption_mode,
    }
    return {name: value for name, value in config.items() if value is not None}


def _schema_registry(registry: SchemaRegistry) -> Reply:
    return {
        "SchemaRegistryURI": registry.uri,
        "EventRecordFormat": registry.record_format,
        "AccessConfigs": [{"Type": kind, "URI": uri} for kind, uri in registry.access],
        "SchemaValidationConfigs": [{"Attribute": attribute} for attribute in registry.validated],
    }
