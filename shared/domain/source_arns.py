"""ARNs of event sources: which kind one names, and the cluster of a Kafka one.

Source: the ARN formats of the services' own references.
"""

from __future__ import annotations

import re

from shared.domain.mappings import SourceKind

ARN_CHARACTERS_MAX = 1_024
FIFO_SUFFIX = ".fifo"
_PLACE = r"arn:aws[a-zA-Z-]*:{service}:[a-z0-9-]+:\d{{12}}:"
_FORMS = {
    SourceKind.SQS: ("sqs", r"[a-zA-Z0-9_-]{1,80}(\.fifo)?"),
    SourceKind.KINESIS: ("kinesis", r"stream/[a-zA-Z0-9_.-]{1,128}(/consumer/[a-zA-Z0-9_.-]{1,128}:\d+)?"),
    SourceKind.DYNAMODB: ("dynamodb", r"table/[a-zA-Z0-9_.-]{1,255}/stream/[a-zA-Z0-9:.+-]{1,64}"),
    SourceKind.MSK: ("kafka", r"(cluster|vpc-connection/\d{12})/(?P<cluster>[a-zA-Z0-9-_.]+)/[a-zA-Z0-9-]+"),
    SourceKind.MQ: ("mq", r"broker:[a-zA-Z0-9_-]{1,100}:[a-zA-Z0-9-]+"),
    SourceKind.DOCUMENTDB: ("rds", r"cluster:[a-zA-Z0-9-]{1,255}"),
}
_PATTERNS = {kind: re.compile(_PLACE.format(service=service) + resource) for kind, (service, resource) in _FORMS.items()}


def kind_of_arn(arn: str) -> SourceKind | None:
    """The kind of source that an ARN names; None when no mapping can read from it."""
    if len(arn) > ARN_CHARACTERS_MAX:
        return None
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(arn)), None)


def kafka_cluster(arn: str) -> str | None:
    """The name of the cluster that a Kafka cluster's (or its VPC connection's) ARN names; None for any other ARN."""
    match = _PATTERNS[SourceKind.MSK].fullmatch(arn)
    return None if match is None else match["cluster"]


def is_fifo(arn: str) -> bool:
    return arn.endswith(FIFO_SUFFIX)
