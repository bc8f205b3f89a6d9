"""What happens in environments, counted: plain numbers on the path, turned into Prometheus's form when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from services.worker.telemetry.events import InitReport, Report, TelemetryEvent


class EnvironmentMetrics(Collector):
    """`count` subscribes to the events of environments."""

    def __init__(self) -> None:
        self._invocations: Counter[str] = Counter()
        self._initialisations: Counter[tuple[str, str]] = Counter()

    def count(self, event: TelemetryEvent) -> None:
        if type(event) is Report:
            self._invocations[event.status] += 1
        elif type(event) is InitReport:
            self._initialisations[(event.phase, event.status)] += 1

    def collect(self) -> Iterable[Metric]:
        invocations = CounterMetricFamily("lambdad_worker_invocations", "Invocations by how they ended", labels=["status"])
        for status, number in sorted(self._invocations.items()):
            invocations.add_metric([status], number)
        yield invocations
        initialisations = CounterMetricFamily(
            "lambdad_worker_initialisations", "Initialisations of runtimes, by how they ended", labels=["phase", "status"]
        )
        for labels, number in sorted(self._initialisations.items()):
            initialisations.add_metric(list(labels), number)
        yield initialisations
