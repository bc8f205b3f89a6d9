"""The settings of a mapping that a request changes, and their limits by the kind of source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from services.frontend.apis.lambda_.context import Request
from shared.domain.errors import InvalidParameterValueException
from shared.domain.mappings import DocumentDatabase, MappingSettings, ProvisionedPollers, SchemaRegistry, SourceKind
from shared.domain.mappings.catalogue import RULES, rules_of

RECORD_AGE_S_MIN = 60
POLLERS_MAX_DEFAULT = 200
FULL_DOCUMENT_DEFAULT = "Default"
GROUP_PARAMETERS = tuple(rules.group_parameter for rules in RULES.values() if rules.group_parameter is not None)

_PLAIN = (
    ("MaximumBatchingWindowInSeconds", "batching_window_s"),
    ("MaximumRetryAttempts", "retry_attempts_max"),
    ("MaximumRecordAgeInSeconds", "record_age_s_max"),
    ("BisectBatchOnFunctionError", "bisect_on_error"),
    ("ParallelizationFactor", "parallelization_factor"),
    ("TumblingWindowInSeconds", "tumbling_window_s"),
)
_LISTS = (("FunctionResponseTypes", "function_response_types"), ("Queues", "queues"))


def changed(kind: SourceKind, settings: MappingSettings, request: Request) -> MappingSettings:
    """The settings with what the request sends; an empty structure takes a setting away.

    Raises InvalidParameterValueException.
    """
    changes: dict[str, Any] = {field: request[parameter] for parameter, field in _PLAIN if request.get(parameter) is not None}
    changes |= {field: tuple(request[parameter]) for parameter, field in _LISTS if request.get(parameter) is not None}
    if request.get("KMSKeyArn") is not None:
        changes["kms_key_arn"] = request["KMSKeyArn"] or None
    for parameter, field, read in _STRUCTURES:
        if request.get(parameter) is not None:
            changes[field] = read(request[parameter]) if request[parameter] else None
    if request.get("ProvisionedPollerConfig") is not None:
        changes["pollers"] = _pollers(kind, settings.pollers, request["ProvisionedPollerConfig"])
    if request.get("SourceAccessConfigurations") is not None:
        changes["source_access"] = _source_access(kind, request["SourceAccessConfigurations"])
    for parameter in GROUP_PARAMETERS:
        changes |= _group_settings(request.get(parameter) or {})
    found = msgspec.structs.replace(settings, **changes)
    age_s = found.record_age_s_max
    if age_s is not None and 0 <= age_s < RECORD_AGE_S_MIN:
        raise InvalidParameterValueException(f"MaximumRecordAgeInSeconds must be -1 or at least {RECORD_AGE_S_MIN}.")
    if found.pollers is not None and found.concurrency_max is not None:
        raise InvalidParameterValueException("ScalingConfig and ProvisionedPollerConfig exclude each other.")
    return found


def consumer_group(request: Request) -> str | None:
    for parameter in GROUP_PARAMETERS:
        group = (request.get(parameter) or {}).get("ConsumerGroupId")
        if group is not None:
            return str(group)
    return None


def _concurrency(sent: Request) -> int | None:
    return sent.get("MaximumConcurrency")


def _metrics(sent: Request) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(sent.get("Metrics") or ())) or None


def _log_level(sent: Request) -> str | None:
    return sent.get("SystemLogLevel")


def _document_db(sent: Request) -> DocumentDatabase:
    return DocumentDatabase(
        sent.get("DatabaseName"), sent.get("CollectionName"), sent.get("FullDocument") or FULL_DOCUMENT_DEFAULT
    )


_STRUCTURES: tuple[tuple[str, str, Callable[[Request], Any]], ...] = (
    ("ScalingConfig", "concurrency_max", _concurrency),
    ("MetricsConfig", "metrics", _metrics),
    ("LoggingConfig", "log_level", _log_level),
    ("DocumentDBEventSourceConfig", "document_db", _document_db),
)


def _pollers(kind: SourceKind, current: ProvisionedPollers | None, sent: Request) -> ProvisionedPollers | None:
    if not sent:
        return None
    rules = rules_of(kind)
    current = current or ProvisionedPollers(rules.pollers_min, POLLERS_MAX_DEFAULT)
    minimum = sent.get("MinimumPollers")
    maximum = sent.get("MaximumPollers")
    group = sent.get("PollerGroupName")
    if group and "PollerGroupName" in rules.refusals:
        raise InvalidParameterValueException(rules.refusals["PollerGroupName"])
    found = ProvisionedPollers(
        current.minimum if minimum is None else minimum,
        current.maximum if maximum is None else maximum,
        current.group if group is None else group or None,
    )
    if found.minimum < rules.pollers_min or found.maximum > rules.pollers_max:
        raise InvalidParameterValueException(f"Pollers of this event source may be {rules.pollers_min} to {rules.pollers_max}.")
    if found.minimum > found.maximum:
        raise InvalidParameterValueException("MinimumPollers must be less than or equal to MaximumPollers.")
    return found


def _source_access(kind: SourceKind, sent: list[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tuple((access.get("Type") or "", access.get("URI") or "") for access in sent)
    rules = rules_of(kind)
    for access_type, _ in pairs:
        if access_type not in rules.access:
            raise InvalidParameterValueException(
                f"Unsupported source access configuration type {access_type} for given event source mapping type."
            )
        if access_type in rules.access_refused:
            raise InvalidParameterValueException(rules.access_refused[access_type])
    return pairs


def _group_settings(sent: Request) -> dict[str, Any]:
    """What the structure that names the consumer group changes besides it."""
    changes: dict[str, Any] = {}
    registry = sent.get("SchemaRegistryConfig")
    if registry is not None:
        changes["schema_registry"] = _schema_registry(registry) if registry else None
    mode = sent.get("ConsumptionMode")
    if mode is not None:
        if mode != "Stream":
            raise InvalidParameterValueException("Unsupported 'ConsumptionMode' parameter for given event source mapping type")
        changes["consumption_mode"] = mode
    return changes


def _schema_registry(sent: Request) -> SchemaRegistry:
    if not sent.get("SchemaRegistryURI"):
        raise InvalidParameterValueException("Required 'schemaRegistryURI' parameter is missing.")
    access = tuple((one.get("Type") or "", one.get("URI") or "") for one in sent.get("AccessConfigs") or ())
    validated = tuple(one["Attribute"] for one in sent.get("SchemaValidationConfigs") or () if one.get("Attribute"))
    return SchemaRegistry(str(sent["SchemaRegistryURI"]), sent.get("EventRecordFormat"), access, validated)
