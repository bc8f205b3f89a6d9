"""Rules of SQS event sources.

Source: "Using Lambda with Amazon SQS" in the Lambda developer guide.
"""

from __future__ import annotations

from types import MappingProxyType

from shared.domain.errors import InvalidParameterValueException
from shared.domain.mappings import EventSourceMapping, MappingSettings, SourceKind
from shared.domain.mappings.rules import KindRules, arn_form, unread

FIFO_SUFFIX = ".fifo"
BATCH_WITHOUT_WINDOW_MAX = 10


def is_fifo(arn: str) -> bool:
    return arn.endswith(FIFO_SUFFIX)


def _check(mapping: EventSourceMapping) -> None:
    if is_fifo(mapping.source_arn or "") and mapping.batching_window_s:
        raise InvalidParameterValueException("Batching window is not supported for FIFO queues")
    if mapping.batch_size > BATCH_WITHOUT_WINDOW_MAX and not mapping.batching_window_s:
        raise InvalidParameterValueException(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )


RULES = KindRules(
    SourceKind.SQS,
    'An event source mapping with SQS arn (" {source} ") and function (" {name} ") already exists.',
    arn=arn_form("sqs", r"[a-zA-Z0-9_-]{1,80}(\.fifo)?"),
    parameters=frozenset({"FunctionResponseTypes", "ProvisionedPollerConfig", "ScalingConfig"}),
    refusals=MappingProxyType(
        {
            "StartingPosition": "StartingPosition is not valid for SQS event sources.",
            "PollerGroupName": "PollerGroupName is not supported for SQS event sources.",
        }
    ),
    defaults=MappingSettings(batching_window_s=0, function_response_types=()),
    batch_size=10,
    window_s=0.0,
    pollers_min=2,
    pollers_max=10_000,
    data_field="body",
    data_may_be_text=True,
    last_processing_result="",
    unread_result=unread("Amazon SQS"),
    check=_check,
)
