"""What a benchmark found: rows beside each other, as a table and as JSON kept by date."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ECHO = "bare ASGI echo"
"""The peer that is the yardstick of what a request costs before anything is done for it."""

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"


@dataclass(frozen=True)
class Row:
    """One peer's figures. Latencies in milliseconds; None: not measured by this benchmark. absent: why there are none at all."""

    peer: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    per_s: float | None = None
    executed_per_s: float | None = None
    kib: float | None = None
    count: int = 0
    failed: int = 0
    note: str = ""
    absent: str | None = None

    @property
    def ours(self) -> bool:
        return self.peer.startswith("lambdad")


@dataclass(frozen=True)
class Outcome:
    """judged_by: the field of Row that ratios are made of. What the project promises, None when nothing: target, for that field;
    p99_ms_max; echo_times_max, how many times worse than the bare echo the first of our rows may be."""

    name: str
    title: str
    judged_by: str
    target: float | None = None
    rows: list[Row] = field(default_factory=list)
    p99_ms_max: float | None = None
    echo_times_max: float | None = None

    @property
    def lower_is_better(self) -> bool:
        return self.judged_by.endswith("_ms") or self.judged_by == "kib"

    def ratio(self, row: Row) -> float | None:
        """How many times better the first of our rows is than this one."""
        ours = self._ours()
        mine = getattr(ours, self.judged_by) if ours else None
        its = getattr(row, self.judged_by)
        if not mine or not its:
            return None
        return float(its / mine if self.lower_is_better else mine / its)

    def _ours(self) -> Row | None:
        return next((row for row in self.rows if row.ours and not row.absent), None)

    def verdict(self) -> str:
        ours, echo = self._ours(), next((row for row in self.rows if row.peer == ECHO and not row.absent), None)
        if ours is None:
            return ""
        parts = []
        if self.target is not None:
            best = getattr(ours, self.judged_by)
            met = best <= self.target if self.lower_is_better else best >= self.target
            parts.append(_judged(f"{'at most' if self.lower_is_better else 'at least'} {self.target:g}", met))
        if self.p99_ms_max is not None and ours.p99_ms is not None:
            parts.append(_judged(f"p99 at most {self.p99_ms_max:g} ms", ours.p99_ms <= self.p99_ms_max))
        if self.echo_times_max is not None and echo is not None:
            times = 1 / (self.ratio(echo) or float("nan"))
            parts.append(_judged(f"{times:.2f} times the echo, at most {self.echo_times_max:g}", times <= self.echo_times_max))
        return "; ".join(parts)


def _judged(promise: str, met: bool) -> str:
    return f"{promise}: {'met' if met else 'MISSED'}"


def machine() -> str:
    load = os.getloadavg()[0]
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return (
        f"{os.cpu_count()} CPUs ({cpu}), load {load:.2f} before, Linux {platform.release()}, Python {platform.python_version()}"
    )


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def table(outcomes: Iterable[Outcome], machine_line: str) -> str:
    """ratio: how many times better lambdad is."""
    lines = [f"machine: {machine_line}; the load generator and every peer share it", ""]
    header = f"{'':30}{'p50 ms':>9}{'p99 ms':>9}{'per s':>11}{'executed/s':>12}{'KiB':>8}{'count':>9}{'failed':>8}{'ratio':>8}"
    for outcome in outcomes:
        lines += [f"{outcome.name}: {outcome.title}  {outcome.verdict()}".rstrip(), header]
        for row in outcome.rows:
            if row.absent:
                lines.append(f"  {row.peer:28} absent: {row.absent.splitlines()[0][:120]}")
                continue
            ratio = outcome.ratio(row)
            cells = (
                f"{_cell(row.p50_ms, 3):>9}{_cell(row.p99_ms, 3):>9}{_cell(row.per_s, 0):>11}{_cell(row.executed_per_s, 0):>12}"
                f"{_cell(row.kib, 0):>8}"
            )
            lines.append(f"  {row.peer:28}{cells}{row.count:>9}{row.failed:>8}{_cell(ratio, 2):>8}  {row.note}".rstrip())
        lines.append("")
    return "\n".join(lines)


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def keep(outcomes: Iterable[Outcome], machine_line: str) -> Path:
    """Add this run to the file of the day."""
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    entries = [
        {**asdict(outcome), "verdict": outcome.verdict(), "ratios": {r.peer: outcome.ratio(r) for r in outcome.rows}}
        for outcome in outcomes
    ]
    runs.append({"time": now.isoformat(timespec="seconds"), "machine": machine_line, "benchmarks": entries})
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    unfinished.replace(path)
    return path
