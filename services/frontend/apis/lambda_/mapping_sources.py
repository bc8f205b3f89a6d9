"""What each kind of event source has: its settings, their defaults, and which of them a reply shows.

Source: the parameter tables of the Lambda developer guide's chapters on each source, and recorded replies.
"""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.errors import InvalidParameterValueException
from shared.domain.mappings import MappingSettings, SourceKind
from shared.domain.source_arns import kafka_cluster, kind_of_arn

BUILT_IN_CLUSTER = "lambdad"
NO_RECORDS = "No records processed"
UNRECOGNIZED = "Unrecognized event source."

_ERRORS = {"BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts"}
_START = {"StartingPosition", "StartingPositionTimestamp"}
_KAFKA = {
    *_ERRORS,
    *_START,
    "FunctionResponseTypes",
    "LoggingConfig",
    "ProvisionedPollerConfig",
    "SourceAccessConfigurations",
    "Topics",
}
_STREAM = {*_ERRORS, *_START, "FunctionResponseTypes", "ParallelizationFactor", "TumblingWindowInSeconds"}
OF_SOME_KINDS = (
    "DestinationConfig",
    "StartingPosition",
    "StartingPositionTimestamp",
    "ParallelizationFactor",
    "TumblingWindowInSeconds",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "BisectBatchOnFunctionError",
    "FunctionResponseTypes",
    "ScalingConfig",
    "ProvisionedPollerConfig",
    "LoggingConfig",
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
)
"""Parameters that not every kind has, in the order in which they are refused."""


class SourceRules(msgspec.Struct, frozen=True):
    """One kind's rules.

    parameters: those of OF_SOME_KINDS that it has. defaults: what a reply shows of settings that were left out.
    window_s: MaximumBatchingWindowInSeconds when it was left out. access: types of SourceAccessConfigurations.
    pollers_max: of ProvisionedPollerConfig; pollers_min likewise, and its default.
    """

    parameters: frozenset[str]
    defaults: MappingSettings = MappingSettings()
    batch_size: int = 100
    window_s: float = 0.5
    last_processing_result: str = NO_RECORDS
    access: frozenset[str] = frozenset()
    pollers_min: int = 1
    pollers_max: int = 2_000

    @property
    def has_destination(self) -> bool:
        return "DestinationConfig" in self.parameters

    @property
    def has_start(self) -> bool:
        return "StartingPosition" in self.parameters


_STREAM_RULES = SourceRules(
    frozenset(_STREAM),
    MappingSettings(
        batching_window_s=0,
        retry_attempts_max=-1,
        record_age_s_max=-1,
        bisect_on_error=False,
        function_response_types=(),
        parallelization_factor=1,
        tumbling_window_s=0,
    ),
    window_s=0.0,
)
_OAUTH = {f"OAUTHBEARER_{part}" for part in ("AUTH", "SCOPE", "AUDIENCE", "LOGICAL_CLUSTER", "IDENTITY_POOL")}
RULES: MappingProxyType[SourceKind, SourceRules] = MappingProxyType(
    {
        SourceKind.SQS: SourceRules(
            frozenset({"FunctionResponseTypes", "ProvisionedPollerConfig", "ScalingConfig"}),
            MappingSettings(batching_window_s=0, function_response_types=()),
            batch_size=10,
            window_s=0.0,
            last_processing_result="",
            pollers_min=2,
            pollers_max=10_000,
        ),
        SourceKind.KINESIS: _STREAM_RULES,
        SourceKind.DYNAMODB: _STREAM_RULES,
        SourceKind.MSK: SourceRules(
            frozenset({*_KAFKA, "AmazonManagedKafkaEventSourceConfig"}),
            access=frozenset({"SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH", "IAM_AUTH"}),
        ),
        SourceKind.SELF_MANAGED_KAFKA: SourceRules(
            frozenset({*_KAFKA, "SelfManagedKafkaEventSourceConfig"}),
            access=frozenset(
                {
                    *_OAUTH,
                    "BASIC_AUTH",
                    "SASL_SCRAM_256_AUTH",
                    "SASL_SCRAM_512_AUTH",
                    "CLIENT_CERTIFICATE_TLS_AUTH",
                    "SERVER_ROOT_CA_CERTIFICATE",
                    "IAM_OAUTHBEARER_AUTH",
                    "VPC_SUBNET",
                    "VPC_SECURITY_GROUP",
                }
            ),
        ),
        SourceKind.MQ: SourceRules(
            frozenset({"Queues", "SourceAccessConfigurations"}), access=frozenset({"BASIC_AUTH", "VIRTUAL_HOST"})
        ),
        SourceKind.DOCUMENTDB: SourceRules(
            frozenset({*_START, "DocumentDBEventSourceConfig", "SourceAccessConfigurations"}),
            access=frozenset({"BASIC_AUTH"}),
        ),
    }
)


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


def check_parameters(kind: SourceKind, request: Request) -> None:
    """Raises InvalidParameterValueException for a parameter that this kind of source does not have."""
    destination = request.get("DestinationConfig") or {}
    if (destination.get("OnSuccess") or {}).get("Destination"):
        raise unsupported("DestinationConfig")
    for parameter in OF_SOME_KINDS:
        if request.get(parameter) and parameter not in RULES[kind].parameters:
            if parameter == "StartingPosition" and kind is SourceKind.SQS:
                raise InvalidParameterValueException("StartingPosition is not valid for SQS event sources.")
            raise unsupported(parameter)


def unsupported(parameter: str) -> InvalidParameterValueException:
    """AWS names DestinationConfig as it is, and the others quoted, beginning in lower case."""
    name = parameter if parameter == "DestinationConfig" else f"'{parameter[0].lower()}{parameter[1:]}'"
    return InvalidParameterValueException(f"Unsupported {name} parameter for given event source mapping type.")


def required(parameter: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"Required '{parameter[0].lower()}{parameter[1:]}' parameter is missing.")


def check_cluster(ctx: ControlContext, arn: str) -> None:
    """Raises InvalidParameterValueException when nobody has said where a Kafka cluster is."""
    clusters = (BUILT_IN_CLUSTER, *ctx.settings.events.kafka_clusters)
    name = kafka_cluster(arn)
    if name not in clusters:
        raise InvalidParameterValueException(
            f"Kafka cluster {name} is not known here. Known are: {', '.join(clusters)} (events.kafka_clusters)."
        )
