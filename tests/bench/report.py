"""What a benchmark found: rows beside each other, as a table and as JSON kept by date."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "bench-results"


@dataclass(frozen=True)
class Row:
    """One peer's figures. Latencies in milliseconds; None: not measured by this benchmark. absent: why there are none at all."""

    peer: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    per_s: float | None = None
    executed_per_s: float | None = None
    count: int = 0
    failed: int = 0
    note: str = ""
    absent: str | None = None

    @property
    def ours(self) -> bool:
        return self.peer.startswith("lambdad")


@dataclass(frozen=True)
class Outcome:
    """judged_by: the field of Row that ratios are made of; target: what the project promises for it, None when nothing."""

    name: str
    title: str
    judged_by: str
    target: float | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def lower_is_better(self) -> bool:
        return self.judged_by.endswith("_ms")

    def ratio(self, row: Row) -> float | None:
        """How many times better the first of our rows is than this one."""
        ours = next((r for r in self.rows if r.ours and not r.absent), None)
        mine = getattr(ours, self.judged_by) if ours else None
        its = getattr(row, self.judged_by)
        if not mine or not its:
            return None
        return float(its / mine if self.lower_is_better else mine / its)

    def verdict(self) -> str:
        best = next((getattr(r, self.judged_by) for r in self.rows if r.ours and not r.absent), None)
        if self.target is None or best is None:
            return ""
        met = best <= self.target if self.lower_is_better else best >= self.target
        return f"{'at most' if self.lower_is_better else 'at least'} {self.target:g}: {'met' if met else 'MISSED'}"


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
    header = f"{'':30}{'p50 ms':>9}{'p99 ms':>9}{'per s':>11}{'executed/s':>12}{'count':>9}{'failed':>8}{'ratio':>8}"
    for outcome in outcomes:
        lines += [f"{outcome.name}: {outcome.title}  {outcome.verdict()}".rstrip(), header]
        for row in outcome.rows:
            if row.absent:
                lines.append(f"  {row.peer:28} absent: {row.absent.splitlines()[0][:120]}")
                continue
            ratio = outcome.ratio(row)
            cells = (
                f"{_cell(row.p50_ms, 3):>9}{_cell(row.p99_ms, 3):>9}{_cell(row.per_s, 0):>11}{_cell(row.executed_per_s, 0):>12}"
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
