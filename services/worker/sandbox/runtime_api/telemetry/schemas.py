"""How what happens in an environment reads for subscribers of telemetry: (type, record) pairs, by the API that they use.

Source: AWS's schema references of the Telemetry and of the Logs API.
"""

from __future__ import annotations

import random
from typing import Any

from services.worker.telemetry.events import (
    ExtensionState,
    InitReport,
    InitRuntimeDone,
    InitStart,
    LogsDropped,
    PlatformEvent,
    Report,
    RuntimeDone,
    Start,
    TelemetrySubscription,
)
from services.worker.telemetry.platform_records import PlatformRecords, Record

Records = list[tuple[str, Record]]


class TelemetrySchema:
    """Of one environment: what is told of an event depends on what was told before."""

    def __init__(self, records: PlatformRecords) -> None:
        self._records = records
        self._init_told = False
        self._runtime_told = ""
        self._tracing: Record | None = None

    def of(self, event: PlatformEvent) -> Records:
        records = self._records
        if isinstance(event, InitStart):
            return [("platform.initStart", records.init_start(event))]
        if isinstance(event, InitRuntimeDone):
            self._init_told = True
            return [("platform.initRuntimeDone", records.init_runtime_done(event))]
        if isinstance(event, InitReport):
            done = [] if self._init_told else [("platform.initRuntimeDone", records.init_runtime_done(event))]
            self._init_told = False
            return [*done, ("platform.initReport", records.init_report(event))]
        if isinstance(event, ExtensionState):
            return [("platform.extension", records.extension(event))]
        if isinstance(event, TelemetrySubscription):
            name = "platform.logsSubscription" if event.api == "LOGS" else "platform.telemetrySubscription"
            return [(name, records.subscription(event))]
        if isinstance(event, Start):
            self._tracing = _tracing(event.trace)
            return [("platform.start", self._traced(records.start(event.request_id)))]
        if isinstance(event, RuntimeDone):
            self._runtime_told = event.request_id
            return [("platform.runtimeDone", self._traced(records.runtime_done(event)))]
        if isinstance(event, Report):
            done = [] if self._runtime_told == event.request_id else [("platform.runtimeDone", records.runtime_done(event))]
            return [*done, ("platform.report", self._traced(records.report(event)))]
        assert isinstance(event, LogsDropped)
        return [("platform.logsDropped", records.logs_dropped(event))]

    def _traced(self, record: Record) -> Record:
        if self._tracing is not None:
            record["tracing"] = self._tracing
        return record


class LogsSchema:
    """The older API knows less of an environment, and of an invocation's end more by two records."""

    def __init__(self, records: PlatformRecords, *, with_runtime_done: bool) -> None:
        self._records = records
        self._with_runtime_done = with_runtime_done
        self._runtime_told = ""

    def of(self, event: PlatformEvent) -> Records:
        records = self._records
        if isinstance(event, ExtensionState):
            return [("platform.extension", records.extension(event))]
        if isinstance(event, TelemetrySubscription):
            return [("platform.logsSubscription", records.subscription(event))]
        if isinstance(event, Start):
            return [("platform.start", records.start(event.request_id))]
        if isinstance(event, RuntimeDone):
            self._runtime_told = event.request_id
            return self._runtime_done(event)
        if isinstance(event, Report):
            done = [] if self._runtime_told == event.request_id else self._runtime_done(event)
            report = {"requestId": event.request_id, "metrics": records.report(event)["metrics"]}
            return [*done, ("platform.end", {"requestId": event.request_id}), ("platform.report", report)]
        if isinstance(event, LogsDropped):
            return [("platform.logsDropped", records.logs_dropped(event))]
        return []

    def _runtime_done(self, event: RuntimeDone | Report) -> Records:
        if not self._with_runtime_done:
            return []
        return [("platform.runtimeDone", {"requestId": event.request_id, "status": event.status})]


def _tracing(trace: str | None) -> dict[str, Any] | None:
    if not trace:
        return None
    return {"spanId": f"{random.getrandbits(64):016x}", "type": "X-Amzn-Trace-Id", "value": trace}
