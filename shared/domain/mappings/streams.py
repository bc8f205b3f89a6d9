"""What the streams have in common: Kinesis and DynamoDB."""

from __future__ import annotations

from shared.domain.mappings import MappingSettings
from shared.domain.mappings.rules import ERROR_HANDLING, START

PARAMETERS = ERROR_HANDLING | START | {"FunctionResponseTypes", "ParallelizationFactor", "TumblingWindowInSeconds"}
DEFAULTS = MappingSettings(
    batching_window_s=0,
    retry_attempts_max=-1,
    record_age_s_max=-1,
    bisect_on_error=False,
    function_response_types=(),
    parallelization_factor=1,
    tumbling_window_s=0,
)
STATE_REASON = "User action"
