"""What a mapping is to read from, and which parameters go with it; the rules of each kind are in shared/domain/mappings."""

from __future__ import annotations

import re

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.errors import InvalidParameterValueException
from shared.domain.mappings import EventSourceMapping, SourceKind
from shared.domain.mappings.catalogue import kind_of_arn, rules_of
from shared.domain.mappings.kafka import BUILT_IN_CLUSTER, kafka_cluster
from shared.domain.mappings.rules import OF_SOME_KINDS
from shared.events.internal import internal_use
from shared.events.kafka_addresses import literal_refusal

UNRECOGNIZED = "Unrecognized event source."
BOOTSTRAP_SERVERS_MAX = 10
_ENDPOINT = re.compile(r"[^\s:,]{1,255}:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


def kind_of(request: Request) -> SourceKind:
    """What a request to create a mapping reads from. Raises InvalidParameterValueException."""
    arn, own = request.get("EventSourceArn"), request.get("SelfManagedEventSource")
    if arn and own:
        raise InvalidParameterValueException("EventSourceArn and SelfManagedEventSource exclude each other.")
    if own:
        return SourceKind.SELF_MANAGED_KAFKA
    kind = kind_of_arn(str(arn)) if arn else None
    if kind is None:
        raise InvalidParameterValueException(UNRECOGNIZED)
    return kind


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


def check_parameters(kind: SourceKind, request: Request) -> None:
    """Raises InvalidParameterValueException for a parameter that this kind of source does not have."""
    destination = request.get("DestinationConfig") or {}
    if (destination.get("OnSuccess") or {}).get("Destination"):
        raise unsupported("DestinationConfig")
    rules = rules_of(kind)
    for parameter in OF_SOME_KINDS:
        if request.get(parameter) and parameter not in rules.parameters:
            if parameter in rules.refusals:
                raise InvalidParameterValueException(rules.refusals[parameter])
            raise unsupported(parameter)


def check_place(ctx: ControlContext, kind: SourceKind, request: Request) -> None:
    """Raises InvalidParameterValueException when a new mapping does not say what of its source it reads, or how to reach it."""
    for parameter in rules_of(kind).required:
        outer, _, inner = parameter.rpartition(".")
        place = request if not outer else request.get(outer) or {}
        if not place.get(inner) and not (inner == "SourceAccessConfigurations" and _is_named_kafka(ctx, request)):
            raise required(inner)


def _is_named_kafka(ctx: ControlContext, request: Request) -> bool:
    """Whether the operator's settings say how to reach it, this cluster's own Kafka included."""
    return ctx.settings.named_kafka(",".join(endpoints(request))) is not None


def unsupported(parameter: str) -> InvalidParameterValueException:
    """AWS names DestinationConfig as it is, and the others quoted, beginning in lower case."""
    name = parameter if parameter == "DestinationConfig" else f"'{parameter[0].lower()}{parameter[1:]}'"
    return InvalidParameterValueException(f"Unsupported {name} parameter for given event source mapping type.")


def required(parameter: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"Required '{parameter[0].lower()}{parameter[1:]}' parameter is missing.")


def check_internal(ctx: ControlContext, mapping: EventSourceMapping) -> None:
    """Raises InvalidParameterValueException for what belongs to the cluster itself, or is closed to mappings."""
    refusal = internal_use(mapping, ctx.settings) or literal_refusal(mapping.bootstrap_servers, ctx.settings)
    if refusal is not None:
        raise InvalidParameterValueException(refusal)


def check_cluster(ctx: ControlContext, request: Request) -> None:
    """Raises InvalidParameterValueException when nobody has said where a Kafka cluster is."""
    name = kafka_cluster(request.get("EventSourceArn") or "")
    clusters = (BUILT_IN_CLUSTER, *ctx.settings.events.kafka_clusters)
    if name is not None and name not in clusters:
        raise InvalidParameterValueException(
            f"Kafka cluster {name} is not known here. Known are: {', '.join(clusters)}; "
            "LAMBDAD_EVENTS__KAFKA_CLUSTERS names others."
        )
