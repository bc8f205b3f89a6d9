"""What happens in environments, counted. Subscribes to their events."""

from __future__ import annotations

from prometheus_client import Counter

from services.worker.telemetry.events import InitReport, Report, Status, TelemetryEvent

INVOCATIONS = Counter("lambdad_worker_invocations_total", "Invocations by how they ended", ["status"])
INITIALISATIONS = Counter(
    "lambdad_worker_initialisations_total", "Initialisations of runtimes by phase and how they ended", ["phase", "status"]
)
_BY_STATUS = {status: INVOCATIONS.labels(status.value) for status in Status}


def count(event: TelemetryEvent) -> None:
    if isinstance(event, Report):
        _BY_STATUS[event.status].inc()
    elif isinstance(event, InitReport):
        INITIALISATIONS.labels(event.phase.value, event.status.value).inc()
