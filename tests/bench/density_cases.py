"""What an idle environment takes: of the machine's memory, with everything that the kernel keeps for it and what it makes the
cluster's own processes keep; and what many of them take of the processor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.bench.cold_cases import rest, settle
from tests.bench.functions import PAYLOAD
from tests.bench.measure import send_all
from tests.bench.peers.cluster import Lambdad, python_runtime
from tests.bench.report import Outcome, Row

COUNT = 200
"""Environments of each runtime, one after the other: a function each, invoked twice."""
SHARING = "python3.12"
"""The oldest whose forks need not count references to what they share."""
AT_ONCE = 4
CROWD, MORE = 1_950, 50
"""Idle environments, and functions that are invoked for the first time beside them: as many as a worker may have, by default."""
CREATORS = 8
WARM_COUNT = 1_000
REST_S = 5.0
_KEPT = ("AnonPages", "Shmem", "Slab", "KernelStack", "PageTables", "Percpu")
"""Lines of /proc/meminfo: what is neither free nor could be, should it be needed, but for what Slab has of file names."""


def density(ours: Lambdad, absent: str | None) -> Outcome:
    """Of the whole machine, so nothing else may run on it."""
    found = [_row(ours, absent, runtime) for runtime in dict.fromkeys((SHARING, python_runtime()))]
    title = f"an idle Python environment, {COUNT} of them, two invocations old"
    return Outcome("density", title, "kib", 1_536, found)


def crowd(ours: Lambdad, absent: str | None) -> Outcome:
    """What stands idle costs nobody time: neither other functions, nor the machine. Of the whole machine, too."""
    title = f"first invoke of a new function beside {CROWD:,} idle environments of a worker"
    return Outcome("crowd", title, "p50_ms", 4.0, [_crowd_row(ours, absent)], p99_ms_max=10.0)


def _crowd_row(ours: Lambdad, absent: str | None) -> Row:
    if absent:
        return Row(ours.name, absent=absent)
    settle(ours)
    alone = _processor_share(ours.cluster.processes())
    names = _create(ours, CROWD)
    made = send_all(ours.endpoint(), names, PAYLOAD, clients=AT_ONCE, count=CROWD)
    more = _create(ours, MORE)
    settle(ours)
    rest(CROWD)
    crowded = _processor_share(ours.cluster.processes())
    cold = send_all(ours.endpoint(), more, PAYLOAD, clients=1, count=MORE)
    warm = send_all(ours.endpoint(), more[:1], PAYLOAD, clients=1, count=WARM_COUNT)
    again = send_all(ours.endpoint(), names, PAYLOAD, clients=AT_ONCE, count=CROWD)
    (standing,) = ours.cluster.worker_figures("lambdad_worker_environments")
    for function in (*names, *more):
        ours.delete(function)
    settle(ours)
    note = (
        f"{standing:.0f} environments stood; warm p50 {warm.quantile_ms(0.5):.2f} ms; the idle ones' next invoke p50 "
        f"{again.quantile_ms(0.5):.2f} ms; at rest the cluster takes {crowded:.1%} of a processor, {alone:.1%} with none"
    )
    failed = sum(sample.bad for sample in (made, cold, warm, again))
    return Row(ours.name, cold.quantile_ms(0.5), cold.quantile_ms(0.99), count=MORE, failed=failed, note=note)


def _create(ours: Lambdad, count: int) -> list[str]:
    with ThreadPoolExecutor(CREATORS) as threads:
        return list(threads.map(lambda _: ours.create("idle", SHARING), range(count)))


def _row(ours: Lambdad, absent: str | None, runtime: str) -> Row:
    name = f"lambdad ({runtime})"
    if absent:
        return Row(name, absent=absent)
    names = [ours.create("python", runtime) for _ in range(COUNT + 1)]
    send_all(ours.endpoint(), names[:1], PAYLOAD, clients=1, count=2)
    settle(ours)
    before = _kept_kib()
    sample = send_all(ours.endpoint(), names[1:], PAYLOAD, clients=AT_ONCE, count=2 * COUNT)
    settle(ours)
    rest(COUNT)
    each = {line: (kib - before[line]) / COUNT for line, kib in _kept_kib().items()}
    note = ", ".join(f"{line} {kib:.0f}" for line, kib in each.items())
    used = f"{_processor_share(_runtimes(ours)):.2%} of a processor for all at rest"
    for function in names:
        ours.delete(function)
    settle(ours)
    return Row(name, kib=sum(each.values()), count=COUNT, failed=sample.bad, note=f"{note}; {used}")


def _kept_kib() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[0].rstrip(":") in _KEPT}


def _runtimes(ours: Lambdad) -> list[psutil.Process]:
    return [process for process in ours.cluster.processes() if int(process.uids().real) >= 200_000]


def _processor_share(processes: Sequence[psutil.Process]) -> float:
    """Of one processor, what these take together."""
    before, began = _processor_seconds(processes), time.monotonic()
    time.sleep(REST_S)
    return (_processor_seconds(processes) - before) / (time.monotonic() - began)


def _processor_seconds(processes: Sequence[psutil.Process]) -> float:
    spent = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            spent += sum(process.cpu_times()[:2])
    return spent
