"""What happens in environments, counted. Subscribes to their events."""

from __future__ import annotations

from prometheus_client import Counter

from services.worker.telemetry.events import InitReport, TelemetryEvent

INITIALISATIONS = Counter(
    "lambdad_worker_initialisations_total", "Initialisations of runtimes by phase and how they ended", ["phase", "status"]
)


def count(event: TelemetryEvent) -> None:
    if type(event) is InitReport:
        INITIALISATIONS.labels(event.phase.value, event.status.value).inc()
