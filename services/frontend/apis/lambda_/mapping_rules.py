"""From a request to a mapping: what an event source mapping may be made of, beyond the service model's ranges."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from services.frontend.apis.lambda_ import mapping_settings
from services.frontend.apis.lambda_.context import Request
from services.frontend.apis.lambda_.mapping_sources import RULES, required, unsupported
from shared.domain.errors import InvalidParameterValueException
from shared.domain.filter_patterns import INVALID_PATTERN, Pattern
from shared.domain.mappings import (
    KAFKA_KINDS,
    ErrorHandling,
    EventSourceMapping,
    MappingSettings,
    SourceKind,
)
from shared.domain.source_arns import is_fifo

FILTERS_MAX = 5
BOOTSTRAP_SERVERS_MAX = 10
SMALL_BATCH = 10
"""Batches of a queue up to this size need no window."""
REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"
TOPIC_SCHEME = "kafka://"
NO_STARTING_POSITION = (
    "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
)
DATA_FIELDS = {
    SourceKind.SQS: "body",
    SourceKind.KINESIS: "data",
    SourceKind.DYNAMODB: "dynamodb",
    SourceKind.MSK: "value",
    SourceKind.SELF_MANAGED_KAFKA: "value",
    SourceKind.MQ: "data",
}
"""Where the records of a source hold their data, as filters see them."""
TEXT_DATA_KINDS = frozenset({*KAFKA_KINDS, SourceKind.SQS, SourceKind.MQ})
"""Sources whose data may be filtered as plain text; the others take patterns on JSON alone."""
DESTINATIONS = ("sqs", "sns", "s3")
_ENDPOINT = re.compile(r"[^\s:,]{1,255}:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_DESTINATION = re.compile(r"arn:aws[a-zA-Z-]*:(?P<service>[a-z0-9-]+):[a-z0-9-]*:(\d{12})?:[a-zA-Z0-9_.-]+")


def check_start(kind: SourceKind, request: Request) -> None:
    """Raises InvalidParameterValueException when it is not said, or cannot be, where reading begins."""
    if not RULES[kind].has_start:
        return
    position = request.get("StartingPosition")
    if not position:
        raise InvalidParameterValueException(NO_STARTING_POSITION)
    if position == "AT_TIMESTAMP" and kind is SourceKind.DYNAMODB:
        raise InvalidParameterValueException(f"Unsupported starting position for arn type: {request['EventSourceArn']}")
    start_s = request.get("StartingPositionTimestamp")
    if position == "AT_TIMESTAMP" and start_s is None:
        raise InvalidParameterValueException("StartingPositionTimestamp is needed with the StartingPosition AT_TIMESTAMP.")
    if position != "AT_TIMESTAMP" and start_s is not None:
        raise InvalidParameterValueException("StartingPositionTimestamp goes with the StartingPosition AT_TIMESTAMP only.")
    if start_s is not None and start_s > time.time():
        raise InvalidParameterValueException("StartingPositionTimestamp cannot be in the future.")


def check_place(kind: SourceKind, request: Request) -> None:
    """Raises InvalidParameterValueException when a new mapping does not say which part of its source it reads."""
    if kind in KAFKA_KINDS and not request.get("Topics"):
        raise required("Topics")
    if kind is SourceKind.MQ and not request.get("Queues"):
        raise required("Queues")
    if kind is SourceKind.DOCUMENTDB and not (request.get("DocumentDBEventSourceConfig") or {}).get("DatabaseName"):
        raise required("DatabaseName")
    if kind in (SourceKind.MQ, SourceKind.DOCUMENTDB) and not request.get("SourceAccessConfigurations"):
        raise required("SourceAccessConfigurations")


def endpoints(request: Request) -> tuple[str, ...]:
    """Bootstrap servers of a self-managed cluster; () for any other source. Raises InvalidParameterValueException."""
    own = request.get("SelfManagedEventSource")
    if not own:
        return ()
    servers = tuple((own.get("Endpoints") or {}).get("KAFKA_BOOTSTRAP_SERVERS") or ())
    if not 1 <= len(servers) <= BOOTSTRAP_SERVERS_MAX or not all(_ENDPOINT.fullmatch(server) for server in servers):
        raise InvalidParameterValueException(
            f"SelfManagedEventSource needs 1 to {BOOTSTRAP_SERVERS_MAX} KAFKA_BOOTSTRAP_SERVERS of the form host:port."
        )
    return servers


def filters(kind: SourceKind, request: Request) -> tuple[str, ...] | None:
    """Patterns of the request's FilterCriteria, None when it sends none. Raises InvalidParameterValueException."""
    criteria = request.get("FilterCriteria")
    if criteria is None:
        return None
    patterns = tuple(item.get("Pattern") or "" for item in criteria.get("Filters") or ())
    if len(patterns) > FILTERS_MAX:
        raise InvalidParameterValueException(f"FilterCriteria can have at most {FILTERS_MAX} filters.")
    for text in patterns:
        pattern = Pattern(text, data_field=DATA_FIELDS.get(kind))
        if pattern.data_is_text and kind not in TEXT_DATA_KINDS:
            raise InvalidParameterValueException(INVALID_PATTERN)
    return patterns


def on_failure(kind: SourceKind, request: Request, topics: tuple[str, ...]) -> str | None:
    """Where discarded batches go: None when nothing was sent, "" to have none. Raises InvalidParameterValueException."""
    sent = (request.get("DestinationConfig") or {}).get("OnFailure")
    if sent is None or sent.get("Destination") is None:
        return None
    destination = str(sent["Destination"])
    if destination.startswith(TOPIC_SCHEME):
        if kind not in KAFKA_KINDS:
            raise unsupported("DestinationConfig")
        if destination.removeprefix(TOPIC_SCHEME) in topics:
            raise InvalidParameterValueException("The topic that events come from cannot be their on-failure destination.")
    elif destination:
        match = _DESTINATION.fullmatch(destination)
        if match is None or match["service"] not in DESTINATIONS or is_fifo(destination):
            raise unsupported("DestinationConfig")
    return destination


def changed(
    mapping: EventSourceMapping, settings: MappingSettings, request: Request
) -> tuple[EventSourceMapping, MappingSettings]:
    """A mapping and its settings with what the request sends of them. Raises InvalidParameterValueException."""
    rules = RULES[mapping.kind]
    settings = mapping_settings.changed(mapping.kind, settings, request)
    window_s = settings.batching_window_s
    changes: dict[str, Any] = {
        "batching_window_s": rules.window_s if window_s is None else float(window_s),
        "error_handling": ErrorHandling(
            retry_attempts_max=-1 if settings.retry_attempts_max is None else settings.retry_attempts_max,
            record_age_s_max=-1 if settings.record_age_s_max is None else settings.record_age_s_max,
            bisect_on_error=bool(settings.bisect_on_error),
            report_batch_item_failures=REPORT_BATCH_ITEM_FAILURES in (settings.function_response_types or ()),
        ),
    }
    if request.get("BatchSize") is not None:
        changes["batch_size"] = request["BatchSize"]
    if (patterns := filters(mapping.kind, request)) is not None:
        changes["filters"] = patterns
    if (destination := on_failure(mapping.kind, request, mapping.topics)) is not None:
        changes["on_failure_arn"] = destination or None
    if request.get("Enabled") is not None:
        changes["enabled"] = request["Enabled"]
    mapping = msgspec.structs.replace(mapping, **changes)
    _check_batch(mapping)
    return mapping, settings


def _check_batch(mapping: EventSourceMapping) -> None:
    if mapping.kind is not SourceKind.SQS:
        return
    if is_fifo(mapping.source_arn or "") and mapping.batching_window_s:
        raise InvalidParameterValueException("Batching window is not supported for FIFO queues")
    if mapping.batch_size > SMALL_BATCH and not mapping.batching_window_s:
        raise InvalidParameterValueException(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
