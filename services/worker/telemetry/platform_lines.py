"""The platform's own log lines: INIT_START, EXTENSION, START, END, REPORT and their like, as text or JSON, as AWS writes them.

Made for one environment: complete lines of a platform event, or nothing where the format or level has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.worker.telemetry.events import (
    ON_DEMAND,
    ExtensionState,
    InitReport,
    InitRuntimeDone,
    InitStart,
    LogsDropped,
    PlatformEvent,
    Report,
    RuntimeDone,
    Start,
    Status,
    TelemetrySubscription,
)
from services.worker.telemetry.platform_records import PlatformRecords
from shared.domain.functions import VersionSpec
from shared.domain.runtime_versions import runtime_version, runtime_version_arn

Makers = Mapping[type[PlatformEvent], Callable[[Any], bytes]]
"""By the kind of an event, what makes its lines."""


def makers_for(spec: VersionSpec, initialization_type: str = ON_DEMAND) -> Makers:
    lines = JsonLines(spec, initialization_type) if spec.log_format == "JSON" else TextLines(spec, initialization_type)
    return {
        Start: lines.start,
        Report: lines.report,
        InitStart: lines.init_start,
        InitReport: lines.init_report,
        LogsDropped: lines.logs_dropped,
        ExtensionState: lines.extension,
        TelemetrySubscription: lines.subscription,
        InitRuntimeDone: _told_by_its_report,
        RuntimeDone: _told_by_its_report,
    }


def _told_by_its_report(event: PlatformEvent) -> bytes:
    return b""


class TextLines:
    def __init__(self, spec: VersionSpec, initialization_type: str) -> None:
        self._spec = spec
        self._initialization_type = initialization_type
        self._start_tail = f" Version: {spec.version}\n"
        self._memory = f" ms\tMemory Size: {spec.memory_mb} MB\tMax Memory Used: "

    def init_start(self, event: InitStart) -> bytes:
        spec = self._spec
        arn = runtime_version_arn(spec.region, spec.runtime)
        return f"INIT_START Runtime Version: {runtime_version(spec.runtime)}\tRuntime Version ARN: {arn}\n".encode()

    def init_report(self, event: InitReport) -> bytes:
        if event.status is Status.SUCCESS and self._initialization_type == ON_DEMAND:
            return b""
        ended = "Status: success" if event.status is Status.SUCCESS else _suffix(event.status, event.error_type)
        return f"INIT_REPORT Init Duration: {event.duration_ms:.2f} ms\tPhase: {event.phase}\t{ended}\n".encode()

    def extension(self, event: ExtensionState) -> bytes:
        failed = f"\tError Type: {event.error_type}" if event.error_type else ""
        return f"EXTENSION\tName: {event.name}\tState: {event.state}\tEvents: [{', '.join(event.events)}]{failed}\n".encode()

    def subscription(self, event: TelemetrySubscription) -> bytes:
        types = ", ".join(each.capitalize() for each in event.types)
        return f"{event.api}\tName: {event.name}\tState: Subscribed\tTypes: [{types}]\n".encode()

    def start(self, event: Start) -> bytes:
        return f"START RequestId: {event.request_id}{self._start_tail}".encode()

    def logs_dropped(self, event: LogsDropped) -> bytes:
        return (
            f"LOGS_DROPPED Dropped Bytes: {event.dropped_bytes}\tDropped Lines: {event.dropped_records}\t"
            f"Reason: {event.reason}\n"
        ).encode()

    def report(self, report: Report) -> bytes:
        request_id = report.request_id
        text = (
            f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\tDuration: {report.duration_ms:.2f} ms\t"
            f"Billed Duration: {report.billed_ms}{self._memory}{report.max_memory_mb} MB\t"
        )
        if report.init_ms is not None:
            text += f"Init Duration: {report.init_ms:.2f} ms\t"
        if report.status is not Status.SUCCESS:
            text += _suffix(report.status, report.error_type)
        return (text + "\n").encode()


def _suffix(status: Status, error_type: str | None) -> str:
    if status is Status.TIMEOUT:
        return "Status: timeout"
    return f"Status: error\tError Type: {error_type}" if error_type else "Status: error"


_DEBUG, _INFO, _WARN = 0, 1, 2
_LEVELS = {"DEBUG": _DEBUG, "INFO": _INFO, "WARN": _WARN}


class JsonLines:
    """System records filtered by the function's system log level, INFO when it has none. There is no END record."""

    def __init__(self, spec: VersionSpec, initialization_type: str) -> None:
        self._records = PlatformRecords(spec, initialization_type)
        self._level = _LEVELS.get(spec.system_log_level or "INFO", _INFO)

    def init_start(self, event: InitStart) -> bytes:
        return self._line(_INFO, "platform.initStart", self._records.init_start(event))

    def init_report(self, event: InitReport) -> bytes:
        level = _DEBUG if event.status is Status.SUCCESS else _WARN
        done = self._line(level, "platform.initRuntimeDone", self._records.init_runtime_done(event))
        return done + self._line(level, "platform.initReport", self._records.init_report(event))

    def extension(self, event: ExtensionState) -> bytes:
        return self._line(_WARN if event.error_type else _INFO, "platform.extension", self._records.extension(event))

    def subscription(self, event: TelemetrySubscription) -> bytes:
        return self._line(_INFO, "platform.telemetrySubscription", self._records.subscription(event))

    def start(self, event: Start) -> bytes:
        return self._line(_INFO, "platform.start", self._records.start(event.request_id))

    def logs_dropped(self, event: LogsDropped) -> bytes:
        return self._line(_WARN, "platform.logsDropped", self._records.logs_dropped(event))

    def report(self, report: Report) -> bytes:
        ok = report.status is Status.SUCCESS
        done = self._line(_DEBUG if ok else _WARN, "platform.runtimeDone", self._records.runtime_done(report))
        return done + self._line(_INFO if ok else _WARN, "platform.report", self._records.report(report))

    def _line(self, level: int, kind: str, record: dict[str, Any]) -> bytes:
        if level < self._level:
            return b""
        return msgspec.json.encode({"time": timestamp(), "type": kind, "record": record}) + b"\n"


def timestamp(at: datetime | None = None) -> str:
    """As the platform writes it: UTC, with milliseconds and Z."""
    return (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
