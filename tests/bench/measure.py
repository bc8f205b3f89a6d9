"""Runs the load generator against one function of one peer, and holds what came out."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from tests.bench.signing import Calls, Endpoint

ALL_TIMEOUT_S = 120.0
PROCESS_EXTRA_S = 60.0
PER_S_MAX = 80_000
"""Requests that are signed ahead for a second of load: more than the generator itself can send."""


@dataclass
class Sample:
    """Answers of one or several rounds. rates: successful answers a second, one a round. began: when the first request of the
    first round was sent, by this machine's time.perf_counter()."""

    latencies_s: array[float] = field(default_factory=lambda: array("f"))
    rates: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    began: float = 0.0

    def add(self, other: Sample) -> None:
        self.latencies_s.extend(other.latencies_s)
        self.rates.extend(other.rates)
        self.statuses.update(other.statuses)
        self.failures.extend(other.failures)

    def quantile_ms(self, q: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000 if ordered else float("nan")

    @property
    def rate(self) -> float:
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def bad(self) -> int:
        return sum(count for status, count in self.statuses.items() if status not in ("200", "202"))

    @property
    def total(self) -> int:
        return sum(self.statuses.values())


def load(endpoint: Endpoint, function: str, payload: bytes, *, clients: int, seconds: float, event: bool = False) -> Sample:
    """Invoke a function for some seconds, no request twice. Raises RuntimeError when the generator fails."""
    count = int(seconds * PER_S_MAX)
    return _generate(endpoint, Calls([function], payload.decode(), count, event), clients, seconds, send_all=False)


def send_all(
    endpoint: Endpoint, functions: Sequence[str], payload: bytes, *, clients: int, count: int, event: bool = False
) -> Sample:
    """Send so many invocations, of these functions in turn. Raises RuntimeError when the generator fails."""
    calls = Calls(functions, payload.decode(), count, event)
    return _generate(endpoint, calls, clients, ALL_TIMEOUT_S, send_all=True)


def _generate(endpoint: Endpoint, calls: Calls, clients: int, seconds: float, *, send_all: bool) -> Sample:
    job = {"endpoint": asdict(endpoint), "calls": asdict(calls), "clients": clients, "seconds": seconds, "all": send_all}
    command = [sys.executable, "-m", "tests.bench.load"]
    limit_s = seconds + PROCESS_EXTRA_S
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    if result["used_up"]:
        raise RuntimeError(f"{calls.count} signed requests were used up before {seconds} s were over")
    latencies = array("f", base64.b64decode(result["latencies_s"]))
    statuses = Counter(result["statuses"])
    good = sum(count for status, count in statuses.items() if status in ("200", "202"))
    return Sample(latencies, [good / result["seconds"]], statuses, result["failures"], result["began"])
