"""The platform's events as documents, as AWS's Telemetry API and logs in JSON have them. Of one environment."""

from __future__ import annotations

from typing import Any

from services.worker.telemetry.events import (
    ExtensionState,
    InitReport,
    InitRuntimeDone,
    InitStart,
    LogsDropped,
    Report,
    RuntimeDone,
    TelemetrySubscription,
)
from shared.domain.functions import VersionSpec
from shared.domain.runtime_versions import runtime_version, runtime_version_arn

Record = dict[str, Any]


class PlatformRecords:
    def __init__(self, spec: VersionSpec, initialization_type: str) -> None:
        self._spec = spec
        self._initialization_type = initialization_type

    def init_start(self, event: InitStart) -> Record:
        spec = self._spec
        return {
            "initializationType": self._initialization_type,
            "phase": event.phase,
            "runtimeVersion": runtime_version(spec.runtime),
            "runtimeVersionArn": runtime_version_arn(spec.region, spec.runtime),
            "functionName": spec.function_name,
            "functionVersion": spec.version,
        }

    def init_runtime_done(self, event: InitRuntimeDone | InitReport) -> Record:
        record: Record = {
            "initializationType": self._initialization_type,
            "phase": event.phase,
            "status": event.status,
        }
        if event.error_type:
            record["errorType"] = event.error_type
        return record

    def init_report(self, event: InitReport) -> Record:
        return self.init_runtime_done(event) | {"metrics": {"durationMs": round(event.duration_ms, 3)}}

    def extension(self, event: ExtensionState) -> Record:
        record: Record = {"name": event.name, "state": event.state, "events": event.events}
        if event.error_type:
            record["errorType"] = event.error_type
        return record

    def subscription(self, event: TelemetrySubscription) -> Record:
        return {"name": event.name, "state": "Subscribed", "types": event.types}

    def start(self, request_id: str) -> Record:
        return {"requestId": request_id, "version": self._spec.version}

    def runtime_done(self, event: RuntimeDone | Report) -> Record:
        record: Record = {"requestId": event.request_id, "status": event.status}
        if event.error_type:
            record["errorType"] = event.error_type
        record["metrics"] = {"durationMs": round(event.duration_ms, 3)}
        if isinstance(event, RuntimeDone):
            record["metrics"]["producedBytes"] = event.produced_bytes
        return record

    def report(self, report: Report) -> Record:
        metrics: dict[str, float] = {
            "durationMs": round(report.duration_ms, 3),
            "billedDurationMs": report.billed_ms,
            "memorySizeMB": report.memory_mb,
            "maxMemoryUsedMB": report.max_memory_mb,
        }
        if report.init_ms is not None:
            metrics["initDurationMs"] = round(report.init_ms, 3)
        record: Record = {"requestId": report.request_id, "metrics": metrics, "status": report.status}
        if report.error_type:
            record["errorType"] = report.error_type
        return record

    def logs_dropped(self, event: LogsDropped) -> Record:
        return {
            "droppedBytes": event.dropped_bytes,
            "droppedRecords": event.dropped_records,
            "reason": event.reason,
        }
