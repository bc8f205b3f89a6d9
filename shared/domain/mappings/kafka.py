"""Rules of Kafka event sources: Amazon MSK, and clusters that their owner names by address.

Source: "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache Kafka" in the Lambda developer guide.
"""

from __future__ import annotations

from types import MappingProxyType

from shared.domain.arns import Home
from shared.domain.mappings import SourceKind
from shared.domain.mappings.rules import ERROR_HANDLING, START, KindRules, arn_form

BUILT_IN_CLUSTER = "lambdad"
"""The name, in ARNs, of the cluster that lambdad itself runs on."""
BUILT_IN_CLUSTER_ID = "00000000-0000-0000-0000-000000000000-1"
"""What AWS makes up for every cluster and ends its ARN with; here any will do."""

_ARN = arn_form("kafka", r"(cluster|vpc-connection/\d{12})/(?P<cluster>[a-zA-Z0-9-_.]+)/[a-zA-Z0-9-]+")
_PARAMETERS = frozenset(
    {
        *ERROR_HANDLING,
        *START,
        "FunctionResponseTypes",
        "LoggingConfig",
        "ProvisionedPollerConfig",
        "SourceAccessConfigurations",
        "Topics",
    }
)
_EXISTS = (
    'An event source mapping with event source arn ("{source}"), function ("{function_arn}") '
    'and topics ("{topics}") already exists.'
)
_NETWORK = frozenset({"VPC_SUBNET", "VPC_SECURITY_GROUP"})
_CREDENTIALS = frozenset(
    {
        *(f"OAUTHBEARER_{part}" for part in ("AUTH", "SCOPE", "AUDIENCE", "LOGICAL_CLUSTER", "IDENTITY_POOL")),
        "BASIC_AUTH",
        "SASL_SCRAM_256_AUTH",
        "SASL_SCRAM_512_AUTH",
        "CLIENT_CERTIFICATE_TLS_AUTH",
        "SERVER_ROOT_CA_CERTIFICATE",
        "IAM_OAUTHBEARER_AUTH",
    }
)
_NO_AUTHENTICATION = "Authentication at a self-managed Kafka cluster is not supported yet: a later release brings it."
"""Kept without being used, it would connect without the credentials that its owner wants used."""

MANAGED = KindRules(
    SourceKind.MSK,
    _EXISTS,
    arn=_ARN,
    parameters=_PARAMETERS | {"AmazonManagedKafkaEventSourceConfig"},
    required=("Topics",),
    access=frozenset({"SASL_SCRAM_512_AUTH", "CLIENT_CERTIFICATE_TLS_AUTH", "IAM_AUTH"}),
    data_field="value",
    data_may_be_text=True,
    group_parameter="AmazonManagedKafkaEventSourceConfig",
    topics_as_destination=True,
)
SELF_MANAGED = KindRules(
    SourceKind.SELF_MANAGED_KAFKA,
    _EXISTS,
    parameters=_PARAMETERS | {"SelfManagedKafkaEventSourceConfig"},
    required=("SourceAccessConfigurations", "Topics"),
    start_default="TRIM_HORIZON",
    access=_CREDENTIALS | _NETWORK,
    access_refused=MappingProxyType(dict.fromkeys(sorted(_CREDENTIALS), _NO_AUTHENTICATION)),
    data_field="value",
    data_may_be_text=True,
    group_parameter="SelfManagedKafkaEventSourceConfig",
    topics_as_destination=True,
)


def built_in_cluster_arn(home: Home) -> str:
    """What EventSourceArn names the cluster by that lambdad itself runs on."""
    return f"arn:aws:kafka:{home.region}:{home.account_id}:cluster/{BUILT_IN_CLUSTER}/{BUILT_IN_CLUSTER_ID}"


def kafka_cluster(arn: str) -> str | None:
    """The name of the cluster that a Kafka cluster's (or its VPC connection's) ARN names; None for any other ARN."""
    match = _ARN.fullmatch(arn)
    return None if match is None else match["cluster"]
