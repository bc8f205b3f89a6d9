"""Rules of Kinesis event sources: streams and their enhanced fan-out consumers.

Source: "Using Lambda with Kinesis Data Streams" in the Lambda developer guide.
"""

from __future__ import annotations

from shared.domain.mappings import SourceKind, streams
from shared.domain.mappings.rules import KindRules, arn_form

RULES = KindRules(
    SourceKind.KINESIS,
    arn=arn_form("kinesis", r"stream/[a-zA-Z0-9_.-]{1,128}(/consumer/[a-zA-Z0-9_.-]{1,128}:\d+)?"),
    parameters=streams.PARAMETERS,
    defaults=streams.DEFAULTS,
    window_s=0.0,
    data_field="data",
    state_reason=streams.STATE_REASON,
)
