"""What happens in an execution environment, as records: AWS's Telemetry API has the same, by the same names.

An environment publishes each the moment it happens. Who subscribes (its log, metrics) is called at once, in order, on the
event loop, and must neither wait nor raise. Times are therefore not in the records: now is when.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

ON_DEMAND, PROVISIONED = "on-demand", "provisioned-concurrency"
"""Values of initializationType and of AWS_LAMBDA_INITIALIZATION_TYPE."""


class Phase(enum.StrEnum):
    """INIT: ahead of an invocation. INVOKE: again, inside one, after the runtime had ended."""

    INIT = "init"
    INVOKE = "invoke"


class Status(enum.StrEnum):
    """How an invocation or an initialisation ended. ERROR: the runtime reported it; FAILURE: the runtime itself failed."""

    SUCCESS = "success"
    ERROR = "error"
    FAILURE = "failure"
    TIMEOUT = "timeout"


class InitStart(msgspec.Struct, frozen=True, tag="platform.initStart"):
    """The runtime begins to initialise, ahead of an invocation."""


class InitReport(msgspec.Struct, frozen=True, tag="platform.initReport"):
    """The initialisation is over; platform.initRuntimeDone says the same without the duration."""

    phase: Phase
    status: Status
    duration_ms: float
    error_type: str | None = None


class Start(msgspec.Struct, frozen=True, gc=False, tag="platform.start"):
    """The runtime gets an event."""

    request_id: str


class Report(msgspec.Struct, frozen=True, gc=False, tag="platform.report"):
    """An invocation is over; platform.runtimeDone says the same without what it cost. duration_ms: of the invocation.
    init_ms: only for the first invocation after a successful initialisation of its own."""

    request_id: str
    duration_ms: float
    billed_ms: int
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None
    status: Status = Status.SUCCESS
    error_type: str | None = None


class LogsDropped(msgspec.Struct, frozen=True, tag="platform.logsDropped"):
    """Part of the log is missing here."""

    dropped_bytes: int
    dropped_records: int
    reason: str


class FunctionOutput(msgspec.Struct, frozen=True, gc=False, tag="function"):
    """What the function wrote, as it came: whole lines, many, or a part of one. whole: one record of its runtime's."""

    data: bytes
    whole: bool = False


PlatformEvent = InitStart | InitReport | Start | Report | LogsDropped
"""What the platform says itself."""
TelemetryEvent = PlatformEvent | FunctionOutput
Subscriber = Callable[[TelemetryEvent], None]
