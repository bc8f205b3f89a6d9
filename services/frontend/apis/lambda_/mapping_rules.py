"""From a request to a mapping: what an event source mapping may be made of, beyond the service model's ranges."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from services.frontend.apis.lambda_ import mapping_settings
from services.frontend.apis.lambda_.context import Request
from services.frontend.apis.lambda_.mapping_sources import unsupported
from shared.domain.destinations import TOPIC_SCHEME, Use, is_deliverable
from shared.domain.errors import InvalidParameterValueException
from shared.domain.filter_patterns import INVALID_PATTERN, Pattern
from shared.domain.mappings import ErrorHandling, EventSourceMapping, SourceKind
from shared.domain.mappings.catalogue import rules_of
from shared.domain.mappings.rules import REPORT_BATCH_ITEM_FAILURES

FILTERS_MAX = 5
NO_STARTING_POSITION = (
    "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
)
NO_TIMESTAMP = "Received Exception while reading from provided stream. class java.lang.Long can not be converted to a Timestamp"


def check_start(kind: SourceKind, request: Request) -> None:
    """Raises InvalidParameterValueException when it is not said, or cannot be, where reading begins."""
    rules = rules_of(kind)
    if not rules.has_start:
        return
    position = request.get("StartingPosition") or rules.start_default
    if not position:
        raise InvalidParameterValueException(NO_STARTING_POSITION)
    if position not in rules.positions:
        raise InvalidParameterValueException(f"Unsupported starting position for arn type: {request['EventSourceArn']}")
    start_s = request.get("StartingPositionTimestamp")
    if position == "AT_TIMESTAMP" and start_s is None:
        raise InvalidParameterValueException("StartingPositionTimestamp is needed with the StartingPosition AT_TIMESTAMP.")
    if position != "AT_TIMESTAMP" and start_s is not None:
        raise InvalidParameterValueException("Timestamp only valid with StartingPosition AT_TIMESTAMP")
    if start_s is not None and start_s < 0:
        raise InvalidParameterValueException(NO_TIMESTAMP)
    if start_s is not None and start_s > time.time():
        raise InvalidParameterValueException("StartingPositionTimestamp cannot be in the future.")


def filters(kind: SourceKind, request: Request) -> tuple[str, ...] | None:
    """Patterns of the request's FilterCriteria, None when it sends none. Raises InvalidParameterValueException."""
    criteria = request.get("FilterCriteria")
    if criteria is None:
        return None
    patterns = tuple(item.get("Pattern") or "" for item in criteria.get("Filters") or ())
    if len(patterns) > FILTERS_MAX:
        raise InvalidParameterValueException(f"FilterCriteria can have at most {FILTERS_MAX} filters.")
    rules = rules_of(kind)
    for text in patterns:
        pattern = Pattern(text, data_field=rules.data_field)
        if pattern.data_is_text and not rules.data_may_be_text:
            raise InvalidParameterValueException(INVALID_PATTERN)
    return patterns


def on_failure(kind: SourceKind, request: Request, topics: tuple[str, ...]) -> str | None:
    """Where discarded batches go: None when nothing was sent, "" to have none. Raises InvalidParameterValueException."""
    sent = (request.get("DestinationConfig") or {}).get("OnFailure")
    if sent is None or sent.get("Destination") is None:
        return None
    destination = str(sent["Destination"])
    if destination.startswith(TOPIC_SCHEME):
        if not rules_of(kind).topics_as_destination:
            raise unsupported("DestinationConfig")
        if destination.removeprefix(TOPIC_SCHEME) in topics:
            raise InvalidParameterValueException("The topic that events come from cannot be their on-failure destination.")
    if destination and not is_deliverable(destination, Use.DISCARDED_BATCH):
        raise unsupported("DestinationConfig")
    return destination


def changed(mapping: EventSourceMapping, request: Request) -> EventSourceMapping:
    """A mapping with what the request sends of it. Raises InvalidParameterValueException."""
    rules = rules_of(mapping.kind)
    settings = mapping_settings.changed(mapping.kind, mapping.settings, request)
    window_s = settings.batching_window_s
    changes: dict[str, Any] = {
        "settings": settings,
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
    rules.check(mapping)
    return mapping
