"""Benchmarks of first invokes: one at a time, beside many idle environments, of large packages and programs, all at once. Every
function has code of its own, as functions of different people do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.worker.freezer import REST_AFTER_S, REST_PAUSE_S
from tests.bench.functions import PAYLOAD
from tests.bench.http_cases import Running, alternate, rows
from tests.bench.measure import Sample, send_all
from tests.bench.peers import HttpPeer
from tests.bench.peers.cluster import Lambdad
from tests.bench.peers.sdk import JAVA, RUBY
from tests.bench.report import Outcome, Row
from tests.needs import missing
from tests.support import wait_until

ROUNDS = 2
COUNT = {"python": 50, "boto3": 25}
"""Cold starts in one round."""
PROVIDED_COUNT, JAVA_COUNT, RUBY_COUNT, LARGE_COUNT, CROWDED_COUNT = 50, 20, 20, 10, 50
IDLE_ENVIRONMENTS = 1_000
BURST = 500
BURST_ROUNDS = 1
CREATORS = 8
WARMED_AT_ONCE = 4
QUIET_TIMEOUT_S, SHRINK_TIMEOUT_S = 60.0, 240.0


def asked_for() -> dict[str, int]:
    """How many functions of each kind every peer is asked for, over all rounds."""
    return {kind: count * ROUNDS for kind, count in (("node", COUNT["python"]), ("boto3", COUNT["boto3"]))}


def _cold(peers: Running, kind_of: Callable[[HttpPeer], str], count: int) -> list[Row]:
    """Of functions that were deployed a few seconds ago: the worker gets ready for them meanwhile."""

    def measure(peer: HttpPeer) -> Sample:
        names = peer.cold_functions(kind_of(peer), count)
        if isinstance(peer, Lambdad):
            settle(peer)
        return send_all(peer.endpoint(), names, PAYLOAD, clients=1, count=count)

    return rows(alternate(peers, ROUNDS, measure), rate=False)


def cold_start(peers: Running) -> Outcome:
    found = _cold(peers, lambda peer: peer.warm_kind, COUNT["python"])
    return Outcome("cold-start", "first invoke of a new function", "p50_ms", 4.0, found, p99_ms_max=10.0)


def cold_start_boto3(peers: Running) -> Outcome:
    python = [(peer, why) for peer, why in peers if peer.name != "lambdad (node)"]
    found = _cold(python, lambda _: "boto3", COUNT["boto3"])
    title = "first invoke of a new Python function that imports boto3"
    return Outcome("cold-start-boto3", title, "p50_ms", 4.0, found, p99_ms_max=10.0)


def cold_start_provided(ours: Lambdad, absent: str | None) -> Outcome:
    found = _cold([(ours, absent)], lambda _: "provided", PROVIDED_COUNT)
    return Outcome("cold-start-provided", "first invoke of a new program", "p50_ms", 5.0, found, p99_ms_max=15.0)


def cold_start_java(ours: Lambdad, absent: str | None) -> Outcome:
    """Of functions that were deployed a few seconds ago: machines are started for them meanwhile."""

    def measure(peer: HttpPeer) -> Sample:
        names = ours.cold_functions("java", JAVA_COUNT)
        settle(ours)
        return send_all(peer.endpoint(), names, PAYLOAD, clients=1, count=len(names))

    if absent is None:
        absent = missing(JAVA)
    found = rows(alternate([(ours, absent)], ROUNDS, measure), rate=False)
    return Outcome("cold-start-java", "first invoke of a new Java function", "p50_ms", 60.0, found, p99_ms_max=150.0)


def cold_start_ruby(ours: Lambdad, absent: str | None) -> Outcome:
    """Nothing is promised; not here where no Ruby is that a function may name."""
    found = _cold([(ours, absent or missing(RUBY))], lambda _: "ruby", RUBY_COUNT)
    return Outcome("cold-start-ruby", "first invoke of a new Ruby function", "p50_ms", rows=found)


def cold_start_large(ours: Lambdad, absent: str | None) -> Outcome:
    """Of packages that ran here before, in another environment."""

    def measure(peer: HttpPeer) -> Sample:
        names = ours.cold_functions("large", LARGE_COUNT)
        send_all(peer.endpoint(), names, PAYLOAD, clients=1, count=len(names))
        for name in names:
            ours.replace_environments(name)
        settle(ours)
        return send_all(peer.endpoint(), names, PAYLOAD, clients=1, count=len(names))

    found = rows(alternate([(ours, absent)], ROUNDS, measure), rate=False)
    title = "first invoke of a new environment with a package of 50 MB"
    return Outcome("cold-start-large", title, "p50_ms", 4.0, found, p99_ms_max=10.0)


def cold_start_crowded(ours: Lambdad, absent: str | None) -> Outcome:
    def measure(peer: HttpPeer) -> Sample:
        names = _create(ours, CROWDED_COUNT)
        settle(ours)
        return send_all(peer.endpoint(), names, PAYLOAD, clients=1, count=len(names))

    if absent is None:
        idle = _create(ours, IDLE_ENVIRONMENTS, "idle")
        send_all(ours.endpoint(), idle, PAYLOAD, clients=WARMED_AT_ONCE, count=len(idle))
        rest(len(idle))
    found = rows(alternate([(ours, absent)], ROUNDS, measure), rate=False)
    title = f"first invoke of a new function beside {IDLE_ENVIRONMENTS:,} idle environments"
    return Outcome("cold-start-crowded", title, "p50_ms", 4.0, found, p99_ms_max=10.0)


def burst(ours: Lambdad, absent: str | None) -> Outcome:
    """The functions are deleted afterwards: what of the machine's memory is not free again then is in the note."""
    left_mb: list[int] = []

    def measure(peer: HttpPeer) -> Sample:
        settle(ours)
        free_before, (waiting, environments) = _available_mb(), _held(ours)
        names = _create(ours, BURST)
        settle(ours)
        sample = send_all(peer.endpoint(), names, PAYLOAD, clients=BURST, count=BURST)
        with ThreadPoolExecutor(CREATORS) as threads:
            list(threads.map(ours.delete, names))

        def ended() -> bool:
            now_waiting, now_environments = _held(ours)
            return now_waiting <= waiting and now_environments <= environments

        wait_until(ended, what="what was made for the burst is ended", deadline_s=SHRINK_TIMEOUT_S, poll_s=1.0)
        left_mb.append(free_before - _available_mb())
        return sample

    found = rows(alternate([(ours, absent)], BURST_ROUNDS, measure), rate=True)
    notes = [Row(**{**vars(row), "note": f"{row.note} memory not free again: {left_mb} MB".strip()}) for row in found]
    title = f"{BURST} different functions invoked for the first time, all at once"
    return Outcome("burst", title, "per_s", 400.0, notes, p99_ms_max=2_000.0)


def _create(ours: Lambdad, count: int, kind: str = "python") -> Sequence[str]:
    with ThreadPoolExecutor(CREATORS) as threads:
        return list(threads.map(lambda _: ours.cold_functions(kind, 1)[0], range(count)))


def settle(ours: Lambdad) -> None:
    """Wait until the worker makes and ends no environments."""
    seen: list[tuple[float, ...]] = []

    def quiet() -> bool:
        seen.append(_held(ours))
        return len(seen) >= 8 and len(set(seen[-8:])) == 1

    wait_until(quiet, what="the worker is quiet", deadline_s=QUIET_TIMEOUT_S, poll_s=0.25)


def rest(environments: int) -> None:
    """Wait until so many have become idle environments, with all that a worker does for that."""
    time.sleep(REST_AFTER_S + environments * REST_PAUSE_S)


def _held(ours: Lambdad) -> tuple[float, ...]:
    """(sandboxes that wait, environments)."""
    return ours.cluster.worker_figures("lambdad_worker_sandboxes_ready", "lambdad_worker_environments")


def _available_mb() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")
