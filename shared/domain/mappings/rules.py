"""What the rules of a kind of event source consist of. Each kind has a file of them beside this one.

Source: the parameter tables of the Lambda developer guide's chapters on each source, and recorded replies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from shared.domain.mappings import EventSourceMapping, MappingSettings, SourceKind

NO_RECORDS = "No records processed"
REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"
ERROR_HANDLING = frozenset(
    {"BisectBatchOnFunctionError", "DestinationConfig", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts"}
)
START = frozenset({"StartingPosition", "StartingPositionTimestamp"})
POSITIONS = frozenset({"TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"})
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
_EXISTS = 'The event source arn (" {source} ") and function (" {name} ") provided mapping already exists.'
_PLACE = r"arn:aws[a-zA-Z-]*:{service}:[a-z0-9-]+:\d{{12}}:"


def arn_form(service: str, resource: str) -> re.Pattern[str]:
    """Of a regional resource: resource is a regular expression."""
    return re.compile(_PLACE.format(service=service) + resource)


def _anything_goes(_: EventSourceMapping) -> None:
    """No rule joins settings of this kind."""


class KindRules(msgspec.Struct, frozen=True):
    """One kind's rules.

    arn: of what it reads; None for a kind that is not named by one.
    parameters: those of OF_SOME_KINDS that it takes. required: those that a new mapping must have; a dot leads into a
    structure. refusals: AWS's own words for a parameter that it does not take, where they are not the usual ones.
    defaults: what a reply shows of settings that were left out.
    window_s: MaximumBatchingWindowInSeconds when it was left out. pollers_min (which is its default), pollers_max: of
    ProvisionedPollerConfig. positions: values of StartingPosition that it takes. start_default: the one that is meant when none
    is sent; None where one has to be.
    access: types of SourceAccessConfigurations. access_refused: those of them that nothing here could use, and why.
    data_field: where its records hold their data, as filters see them; data_may_be_text: patterns on plain text are taken too.
    state_reason: StateTransitionReason of what an owner asked for and a poller carried out.
    group_parameter: the structure that holds its ConsumerGroupId. topics_as_destination: kafka:// may follow a failure.
    already_exists: what AWS says to a second mapping of the same source and function; source, name, function_arn, topics.
    unread_result: LastProcessingResult while no poller reads this kind; None keeps AWS's text, where that is true then.
    check: raises InvalidParameterValueException for settings that do not go together.
    """

    kind: SourceKind
    already_exists: str = _EXISTS
    arn: re.Pattern[str] | None = None
    parameters: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    refusals: Mapping[str, str] = MappingProxyType({})
    defaults: MappingSettings = MappingSettings()
    batch_size: int = 100
    window_s: float = 0.5
    pollers_min: int = 1
    pollers_max: int = 2_000
    positions: frozenset[str] = POSITIONS
    start_default: str | None = None
    access: frozenset[str] = frozenset()
    access_refused: Mapping[str, str] = MappingProxyType({})
    data_field: str | None = None
    data_may_be_text: bool = False
    state_reason: str = "USER_INITIATED"
    last_processing_result: str = NO_RECORDS
    group_parameter: str | None = None
    topics_as_destination: bool = False
    unread_result: str | None = None
    check: Callable[[EventSourceMapping], None] = _anything_goes

    @property
    def has_destination(self) -> bool:
        return "DestinationConfig" in self.parameters

    @property
    def has_start(self) -> bool:
        return "StartingPosition" in self.parameters


def unread(service: str) -> str:
    return f"PROBLEM: {service} event sources are not read yet: no record reaches the function."
