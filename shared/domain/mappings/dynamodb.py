"""Rules of DynamoDB streams as event sources.

Source: "Using Lambda with DynamoDB" in the Lambda developer guide.
"""

from __future__ import annotations

from shared.domain.mappings import SourceKind, streams
from shared.domain.mappings.rules import POSITIONS, KindRules, arn_form

RULES = KindRules(
    SourceKind.DYNAMODB,
    arn=arn_form("dynamodb", r"table/[a-zA-Z0-9_.-]{1,255}/stream/[a-zA-Z0-9:.+-]{1,64}"),
    parameters=streams.PARAMETERS,
    defaults=streams.DEFAULTS,
    window_s=0.0,
    positions=POSITIONS - {"AT_TIMESTAMP"},
    data_field="dynamodb",
    state_reason=streams.STATE_REASON,
)
