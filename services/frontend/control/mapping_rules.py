"""What an event source mapping may be made of. Kafka works; the other sources are named and left to a later release."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from services.frontend.control.context import ControlContext, Request
from shared.domain.errors import InvalidParameterValueException
from shared.domain.mappings import EventSourceMapping
from shared.registry.records import MappingSettings

BUILT_IN_CLUSTER = "lambdad"
BATCH_SIZE_DEFAULT = 100
WINDOW_S_DEFAULT = 0.5
FILTERS_MAX = 5
PATTERN_DEPTH_MAX = 32
BOOTSTRAP_SERVERS_MAX = 10
SOURCE_ARN_CHARACTERS_MAX = 1_024
RECORD_AGE_S_MIN = 60
DESTINATION_KINDS = ("sqs", "sns", "s3", "lambda", "kafka")
NOT_FOR_KAFKA = (
    "ParallelizationFactor",
    "TumblingWindowInSeconds",
    "ScalingConfig",
    "Queues",
    "DocumentDBEventSourceConfig",
)
STREAMS = ("kinesis", "dynamodb")
NO_STARTING_POSITION = (
    "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
)
_CLUSTER_ARN = re.compile(r"arn:aws[a-zA-Z-]*:kafka:[a-z0-9-]+:\d{12}:cluster/(?P<name>[a-zA-Z0-9-_.]+)/[a-zA-Z0-9-]+")
_ENDPOINT = re.compile(r"[^\s:,]{1,255}:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


class KafkaSource(msgspec.Struct, frozen=True):
    """source_arn: of a cluster by name; bootstrap_servers: of one that the user runs. One of the two is set."""

    source_arn: str | None
    bootstrap_servers: tuple[str, ...]


def check_kind(request: Request) -> None:
    """What is refused before the function is looked up."""
    if not request.get("EventSourceArn") and not request.get("SelfManagedEventSource"):
        raise InvalidParameterValueException("Unrecognized event source.")
    if ((request.get("DestinationConfig") or {}).get("OnSuccess") or {}).get("Destination"):
        raise unsupported("DestinationConfig")


def unsupported(parameter: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"Unsupported {parameter} parameter for given event source mapping type.")


def kafka_source(ctx: ControlContext, request: Request) -> KafkaSource:
    """The Kafka cluster of a request. Raises InvalidParameterValueException for any other source."""
    source_arn, own = request.get("EventSourceArn"), request.get("SelfManagedEventSource")
    if source_arn and own:
        raise InvalidParameterValueException("EventSourceArn and SelfManagedEventSource exclude each other.")
    if own:
        return KafkaSource(None, _endpoints(own))
    arn = str(source_arn)
    service = (arn.split(":") + [""] * 3)[2]
    if service != "kafka":
        if service in STREAMS and not request.get("StartingPosition"):
            raise InvalidParameterValueException(NO_STARTING_POSITION)
        raise InvalidParameterValueException(
            f"Event sources of {service or 'this kind'} are not supported yet: a later release brings them. Kafka is."
        )
    match = _CLUSTER_ARN.fullmatch(arn) if len(arn) <= SOURCE_ARN_CHARACTERS_MAX else None
    if match is None:
        raise InvalidParameterValueException("Unrecognized event source.")
    clusters = (BUILT_IN_CLUSTER, *ctx.settings.events.kafka_clusters)
    if match["name"] not in clusters:
        raise InvalidParameterValueException(
            f"Kafka cluster {match['name']} is not known here. Known are: {', '.join(clusters)} (events.kafka_clusters)."
        )
    return KafkaSource(arn, ())


def _endpoints(own: Request) -> tuple[str, ...]:
    servers = tuple((own.get("Endpoints") or {}).get("KAFKA_BOOTSTRAP_SERVERS") or ())
    if not 1 <= len(servers) <= BOOTSTRAP_SERVERS_MAX or not all(_ENDPOINT.fullmatch(server) for server in servers):
        raise InvalidParameterValueException(
            f"SelfManagedEventSource needs 1 to {BOOTSTRAP_SERVERS_MAX} KAFKA_BOOTSTRAP_SERVERS of the form host:port."
        )
    return servers


def check_kafka(request: Request) -> None:
    """Rules for creating and updating a Kafka mapping beyond the service model. Raises InvalidParameterValueException."""
    for parameter in NOT_FOR_KAFKA:
        if request.get(parameter):
            raise unsupported(parameter)
    age = request.get("MaximumRecordAgeInSeconds")
    if age is not None and 0 <= age < RECORD_AGE_S_MIN:
        raise InvalidParameterValueException(f"MaximumRecordAgeInSeconds must be -1 or at least {RECORD_AGE_S_MIN}.")
    if any(access.get("Type") not in ("VPC_SUBNET", "VPC_SECURITY_GROUP") for access in source_access(request)):
        raise InvalidParameterValueException(
            "Authentication at a Kafka cluster is not supported yet: a later release brings SourceAccessConfigurations."
        )


def check_start(request: Request) -> None:
    position = request.get("StartingPosition")
    if not position:
        raise InvalidParameterValueException(NO_STARTING_POSITION)
    start_s = request.get("StartingPositionTimestamp")
    if position == "AT_TIMESTAMP" and start_s is None:
        raise InvalidParameterValueException("StartingPositionTimestamp is needed with the StartingPosition AT_TIMESTAMP.")
    if position != "AT_TIMESTAMP" and start_s is not None:
        raise InvalidParameterValueException("StartingPositionTimestamp goes with the StartingPosition AT_TIMESTAMP only.")
    if start_s is not None and start_s > time.time():
        raise InvalidParameterValueException("StartingPositionTimestamp cannot be in the future.")


def topics(request: Request) -> tuple[str, ...]:
    found = tuple(request.get("Topics") or ())
    if len(found) != 1:
        raise InvalidParameterValueException("A Kafka event source mapping needs exactly one topic.")
    return found


def source_access(request: Request) -> list[dict[str, Any]]:
    return list(request.get("SourceAccessConfigurations") or ())


def filters(request: Request) -> tuple[str, ...] | None:
    """Patterns of the request's FilterCriteria, None when it sends none. Raises InvalidParameterValueException."""
    criteria = request.get("FilterCriteria")
    if criteria is None:
        return None
    patterns = tuple(item["Pattern"] for item in criteria.get("Filters") or () if item.get("Pattern"))
    if len(patterns) > FILTERS_MAX:
        raise InvalidParameterValueException(f"FilterCriteria can have at most {FILTERS_MAX} filters.")
    for pattern in patterns:
        try:
            valid = _valid_pattern(msgspec.json.decode(pattern), 0)
        except (msgspec.DecodeError, RecursionError):
            valid = False
        if not valid:
            raise InvalidParameterValueException("Invalid filter pattern definition.")
    return patterns


def _valid_pattern(pattern: object, depth: int) -> bool:
    """An object whose leaves are arrays with something in them."""
    if not isinstance(pattern, dict) or not pattern or depth > PATTERN_DEPTH_MAX:
        return False
    return all(
        bool(value) and (key != "$or" or all(_valid_pattern(one, depth + 1) for one in value))
        if isinstance(value, list)
        else _valid_pattern(value, depth + 1)
        for key, value in pattern.items()
    )


def on_failure(request: Request) -> str | None:
    """Where discarded batches go: None when nothing was sent, "" to have none. Raises InvalidParameterValueException."""
    sent = (request.get("DestinationConfig") or {}).get("OnFailure")
    if sent is None or sent.get("Destination") is None:
        return None
    destination = str(sent["Destination"])
    if destination and not destination.startswith("kafka://"):
        service = (destination.split(":") + [""] * 3)[2]
        if service not in DESTINATION_KINDS or destination.endswith(".fifo"):
            raise unsupported("DestinationConfig")
    return destination


def changed(mapping: EventSourceMapping, request: Request) -> EventSourceMapping:
    """`mapping` with what the request sends of batching, filters and destination."""
    changes: dict[str, Any] = {}
    if request.get("BatchSize") is not None:
        changes["batch_size"] = request["BatchSize"]
    if request.get("MaximumBatchingWindowInSeconds") is not None:
        changes["batching_window_s"] = float(request["MaximumBatchingWindowInSeconds"])
    if (patterns := filters(request)) is not None:
        changes["filters"] = patterns
    if (destination := on_failure(request)) is not None:
        changes["on_failure_arn"] = destination or None
    if request.get("Enabled") is not None:
        changes["enabled"] = request["Enabled"]
    return msgspec.structs.replace(mapping, **changes)


def changed_settings(settings: MappingSettings, request: Request) -> MappingSettings:
    changes: dict[str, Any] = {}
    for parameter, field in (
        ("MaximumBatchingWindowInSeconds", "batching_window_s"),
        ("MaximumRetryAttempts", "retry_attempts_max"),
        ("MaximumRecordAgeInSeconds", "record_age_s_max"),
        ("BisectBatchOnFunctionError", "bisect_on_error"),
    ):
        if request.get(parameter) is not None:
            changes[field] = request[parameter]
    if request.get("FunctionResponseTypes") is not None:
        changes["function_response_types"] = tuple(request["FunctionResponseTypes"])
    if request.get("SourceAccessConfigurations") is not None:
        changes["source_access"] = tuple((access["Type"], access["URI"]) for access in source_access(request))
    return msgspec.structs.replace(settings, **changes)
