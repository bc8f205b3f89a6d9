"""Counts of the dispatcher, kept as plain integers because they are on the path of every invocation."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakSet

from prometheus_client.core import REGISTRY, CounterMetricFamily
from prometheus_client.registry import Collector

NAMES = ("sticky", "warm", "cold", "throttled", "stale", "no_capacity", "refused")


class DispatchCounts:
    """Leases of one dispatcher by how they were had, and what stood in the way."""

    __slots__ = ("__weakref__", *NAMES)

    def __init__(self) -> None:
        self.sticky = 0
        self.warm = 0
        self.cold = 0
        self.throttled = 0
        self.stale = 0
        self.no_capacity = 0
        self.refused = 0
        _collector.all_counts.add(self)


class _Collector(Collector):
    def __init__(self) -> None:
        self.all_counts: WeakSet[DispatchCounts] = WeakSet()

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("lambdad_dispatch_leases", "Answers to the search for a lease", labels=["answer"])
        for name in NAMES:
            family.add_metric([name], sum(getattr(counts, name) for counts in self.all_counts))
        yield family


_collector = _Collector()
REGISTRY.register(_collector)
