"""What it takes to thaw a sandbox that was frozen since its last answer, by each version of cgroups that this machine has."""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType

from services.worker.sandbox import cgroup_v1, cgroup_v2
from tests.bench.report import Outcome, Row
from tests.integration.sandbox.freezers import ABSENT, frozen_by
from tests.integration.sandbox.harness import Harness

COUNT = 300
REST_S = 0.005
"""A process that runs is frozen at its next tick."""
SOURCE = "def handler(event, context):\n    return event\n"


def thaw() -> Outcome:
    outcome = Outcome("thaw", "a frozen sandbox is thawed", "p50_ms", 0.3)
    for name, version in (("cgroup v2", cgroup_v2), ("cgroup v1", cgroup_v1)):
        try:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder).chmod(0o755)  # Functions' users go through it.
                outcome.rows.append(asyncio.run(_row(f"lambdad ({name})", version, Path(folder))))
        except Exception as error:
            traceback.print_exc()
            outcome.rows.append(Row(f"lambdad ({name})", absent=f"failed while it was measured: {error}"))
    return outcome


async def _row(name: str, version: ModuleType, folder: Path) -> Row:
    async with frozen_by(version, folder) as harness:
        return await _measure(name, harness) if harness is not None else Row(name, absent=ABSENT)


async def _measure(name: str, harness: Harness) -> Row:
    thawed_ms: list[float] = []
    after_ms: dict[bool, list[float]] = {True: [], False: []}
    async with harness.running(SOURCE) as function:
        for number in range(2 * COUNT):
            # In turns, so that whatever else the machine does is in both.
            frozen = number % 2 == 0
            if frozen:
                function.sandbox.freeze()
            await asyncio.sleep(REST_S)
            began = time.perf_counter()
            if frozen:
                function.sandbox.thaw()
                thawed_ms.append((time.perf_counter() - began) * 1e3)
            await function.invoke(0)
            after_ms[frozen].append((time.perf_counter() - began) * 1e3)
    more_ms = _quantile(after_ms[True], 0.5) - _quantile(after_ms[False], 0.5)
    note = f"with it the next invocation takes {more_ms:.3f} ms more than one of a sandbox that rested as long unfrozen, p50"
    return Row(name, _quantile(thawed_ms, 0.5), _quantile(thawed_ms, 0.99), count=COUNT, note=note)


def _quantile(found: list[float], share: float) -> float:
    return sorted(found)[math.ceil(len(found) * share) - 1]
