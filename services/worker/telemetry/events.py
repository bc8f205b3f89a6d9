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
    """The runtime, or the first extension, begins to initialise. In a log it is told ahead of an invocation alone."""

    phase: Phase = Phase.INIT


class InitReport(msgspec.Struct, frozen=True, tag="platform.initReport"):
    """The initialisation is over; platform.initRuntimeDone says the same without the duration."""

    phase: Phase
    status: Status
    duration_ms: float
    error_type: str | None = None


class ExtensionState(msgspec.Struct, frozen=True, tag="platform.extension"):
    """An extension has initialised, or failed. state: as the Extensions API names it."""

    name: str
    state: str
    events: tuple[str, ...]
    error_type: str | None = None


class TelemetrySubscription(msgspec.Struct, frozen=True, tag="platform.telemetrySubscription"):
    """An extension has subscribed to what happens here. api: TELEMETRY or LOGS, as the log names it."""

    name: str
    types: tuple[str, ...]
    api: str = "TELEMETRY"


class InitRuntimeDone(msgspec.Struct, frozen=True, tag="platform.initRuntimeDone"):
    """The runtime has initialised, where extensions are still waited for: otherwise InitReport says the same."""

    phase: Phase
    status: Status
    error_type: str | None = None


class RuntimeDone(msgspec.Struct, frozen=True, tag="platform.runtimeDone"):
    """The runtime has answered, where extensions are still waited for: otherwise Report says the same."""

    request_id: str
    status: Status
    duration_ms: float
    produced_bytes: int
    error_type: str | None = None


class Start(msgspec.Struct, frozen=True, gc=False, tag="platform.start"):
    """The runtime gets an event. trace: its trace header."""

    request_id: str
    trace: str | None = None


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


TOO_FAST = "they came faster than they could be stored"
"""A reason of LogsDropped."""


class LogsDropped(msgspec.Struct, frozen=True, tag="platform.logsDropped"):
    """Part of the log is missing here."""

    dropped_bytes: int
    dropped_records: int
    reason: str


class FunctionOutput(msgspec.Struct, frozen=True, gc=False, tag="function"):
    """What the function wrote, as it came: whole lines, many, or a part of one. whole: one record of its runtime's."""

    data: bytes
    whole: bool = False


class ExtensionOutput(msgspec.Struct, frozen=True, gc=False, tag="extension"):
    """What external extensions wrote, as FunctionOutput."""

    data: bytes
    whole: bool = False


PlatformEvent = (
    InitStart
    | InitRuntimeDone
    | InitReport
    | ExtensionState
    | TelemetrySubscription
    | Start
    | RuntimeDone
    | Report
    | LogsDropped
)
"""What the platform says itself."""
Output = FunctionOutput | ExtensionOutput
TelemetryEvent = PlatformEvent | Output
Subscriber = Callable[[TelemetryEvent], None]
