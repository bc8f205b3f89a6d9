"""Counts and durations of invocations, kept as plain numbers on the path and turned into Prometheus's form when asked for."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 900.0, 1_800.0)


class InvokeMetrics(Collector):
    """outcome: ok, function_error, accepted, dry_run, disconnected, or an error's code."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def count(self, outcome: str) -> None:
        self._counts[outcome] = self._counts.get(outcome, 0) + 1

    def observe(self, duration_s: float) -> None:
        self._buckets[bisect.bisect_left(BOUNDS_S, duration_s)] += 1
        self._sum_s += duration_s

    def collect(self) -> Iterable[Metric]:
        counter = CounterMetricFamily(
            "lambdad_frontend_invocations", "Invoke requests answered, by their outcome", labels=["outcome"]
        )
        for outcome, number in sorted(self._counts.items()):
            counter.add_metric([outcome], number)
        yield counter
        buckets, total = [], 0
        for bound, number in zip((*map(str, BOUNDS_S), "+Inf"), self._buckets, strict=True):
            total += number
            buckets.append((bound, float(total)))
        histogram = HistogramMetricFamily(
            "lambdad_frontend_invoke_seconds", "Time from a complete request to its answer, synchronous invocations"
        )
        histogram.add_metric([], buckets, self._sum_s)
        yield histogram
