"""All kinds of event sources: a new one is a file of rules and a line here."""

from __future__ import annotations

from types import MappingProxyType

from shared.domain.mappings import SourceKind, documentdb, dynamodb, kafka, kinesis, mq, sqs
from shared.domain.mappings.rules import KindRules

ARN_CHARACTERS_MAX = 1_024

_ALL = (sqs.RULES, kinesis.RULES, dynamodb.RULES, kafka.MANAGED, kafka.SELF_MANAGED, mq.RULES, documentdb.RULES)
RULES: MappingProxyType[SourceKind, KindRules] = MappingProxyType({rules.kind: rules for rules in _ALL})


def rules_of(kind: SourceKind) -> KindRules:
    return RULES[kind]


def kind_of_arn(arn: str) -> SourceKind | None:
    """The kind of source that an ARN names; None when no mapping can read from it."""
    if len(arn) > ARN_CHARACTERS_MAX:
        return None
    return next((rules.kind for rules in _ALL if rules.arn is not None and rules.arn.fullmatch(arn)), None)
