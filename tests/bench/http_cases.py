"""Benchmarks over Lambda's HTTP API: warm latency, warm throughput. Peers take turns, round by round."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from tests.bench.functions import PAYLOAD
from tests.bench.measure import Sample, load
from tests.bench.peers import HttpPeer
from tests.bench.report import Outcome, Row

WARM_UP_S = 1.5
ROUNDS = 3

Running = list[tuple[HttpPeer, str | None]]
"""Each peer, and why it is absent."""


def alternate(peers: Running, rounds: int, measure: Callable[[HttpPeer], Sample]) -> list[tuple[HttpPeer, Sample, str | None]]:
    """Each peer's samples over all rounds; a peer that fails is out for the rest of this benchmark."""
    samples = {peer.name: Sample() for peer, _ in peers}
    absent = {peer.name: why for peer, why in peers}
    for _ in range(rounds):
        for peer, _ in peers:
            if absent[peer.name]:
                continue
            try:
                samples[peer.name].add(measure(peer))
            except Exception as error:
                traceback.print_exc()
                absent[peer.name] = f"failed while it was measured: {error}"
    return [(peer, samples[peer.name], absent[peer.name]) for peer, _ in peers]


def rows(measured: Sequence[tuple[HttpPeer, Sample, str | None]], *, rate: bool) -> list[Row]:
    found = []
    for peer, sample, absent in measured:
        if absent or not sample.total:
            found.append(Row(peer.name, absent=absent or "nothing was measured"))
            continue
        note = f"{sample.failures[0].splitlines()[0]}" if sample.failures else ""
        found.append(
            Row(
                peer.name,
                p50_ms=sample.quantile_ms(0.5),
                p99_ms=sample.quantile_ms(0.99),
                per_s=sample.rate if rate else None,
                count=sample.total,
                failed=sample.bad,
                note=note,
            )
        )
    return found


def warm(peers: Running, *, clients: int, seconds: float) -> list[Row]:
    warmed: set[str] = set()

    def measure(peer: HttpPeer) -> Sample:
        endpoint, function = peer.endpoint(), peer.warm_function()
        if peer.name not in warmed:
            load(endpoint, function, PAYLOAD, clients=clients, seconds=WARM_UP_S)
            warmed.add(peer.name)
        return load(endpoint, function, PAYLOAD, clients=clients, seconds=seconds)

    return rows(alternate(peers, ROUNDS, measure), rate=True)


def warm_latency(peers: Running, seconds: float) -> Outcome:
    found = warm(peers, clients=1, seconds=seconds)
    return Outcome("warm-latency", "warm invoke, 1 client", "p50_ms", 0.5, found, p99_ms_max=1.0, echo_times_max=2.0)


def warm_throughput(peers: Running, seconds: float) -> Outcome:
    found = warm(peers, clients=16, seconds=seconds)
    return Outcome("warm-throughput", "warm invoke, 16 clients", "per_s", 14_000, found, echo_times_max=3.0)
