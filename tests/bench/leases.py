"""Lease pairs a second through shared.dispatch: a Redis and a scheduler of their own, one process that acquires and releases.

`python -m tests.bench.leases SECONDS CALLERS` is that process; it takes REDIS_URL and the cluster secret from its environment.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
import traceback
from array import array
from pathlib import Path

import uvloop

from deploy.local.engines.redis import OPTIONS, server_binary
from shared.dispatch.cell.leases import Lease
from shared.dispatch.cell.membership import EnvironmentReport, WorkerMembership
from shared.dispatch.client.dispatcher import Dispatcher
from shared.dispatch.wire.connection import IDLE
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.settings import Settings
from tests.bench.install import ROOT
from tests.bench.processes import Child, free_port, listens
from tests.bench.report import Outcome, Row

CALLERS = 64
ROUNDS = 3
READY_TIMEOUT_S = 20.0


def lease_rate(workdir: Path, seconds: float) -> Outcome:
    outcome = Outcome("lease-rate", f"acquire and release of a warm lease, 1 process, {CALLERS} callers", "per_s", 50_000)
    children: list[Child] = []
    try:
        port = free_port()
        redis = [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        redis += [word for option, value in OPTIONS.items() for word in (f"--{option}", str(value))]
        home = workdir / "lease-redis"
        home.mkdir(parents=True)
        children.append(Child(redis, log=workdir / "lease-redis.log", cwd=home))
        children[0].wait_until(lambda: listens(port), deadline_s=10, what="Redis")
        environment = {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "LAMBDAD_CLUSTER_SECRET": secrets.token_hex(16)}
        scheduler = [
            sys.executable,
            "-c",
            "from services.scheduler.main import serve\nfrom shared.telemetry.service import run\n",
        ]
        scheduler[-1] += 'raise SystemExit(run("scheduler", serve))'
        children.append(Child(scheduler, log=workdir / "lease-scheduler.log", environment=environment, cwd=ROOT))
        holder = Child(
            [sys.executable, "-m", "tests.bench.leases", str(seconds), str(CALLERS)],
            log=workdir / "leases.json",
            environment=environment,
            cwd=ROOT,
        )
        children.append(holder)
        try:
            holder.process.wait(ROUNDS * seconds + 60)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the holder did not end: {holder.log_tail()}") from None
        if holder.process.returncode != 0:
            raise RuntimeError(holder.log_tail())
        outcome.rows.append(Row("lambdad", **json.loads(holder.log_tail().splitlines()[-1])))
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
    finally:
        for child in reversed(children):
            child.stop()
    return outcome


def _target() -> InvokeTarget:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:bench"
    spec = VersionSpec(
        version_key="bench-version",
        function_id="bench-function",
        function_name="bench",
        function_arn=arn,
        version="$LATEST",
        account_id="000000000000",
        region="us-east-1",
        runtime="python3.12",
        handler="index.handler",
        code_sha256="0" * 64,
        memory_mb=1_769,
        timeout_s=3,
        tmp_mb=512,
        environment={},
        role_arn="arn:aws:iam::000000000000:role/bench",
        log_group="/aws/lambda/bench",
    )
    return InvokeTarget(spec, 1, arn, None, None, "Active", EventInvokeConfig())


class _Holder:
    def __init__(self, settings: Settings, callers: int) -> None:
        self._environments: dict[str, Lease] = {}
        self._dispatcher = Dispatcher(settings, role="frontend")
        self._membership = WorkerMembership(settings, "bench-worker", "127.0.0.1:1", callers * 2, None, self._inventory)
        self._callers = callers
        self.pairs = 0
        self.latencies_s = array("f")

    def _inventory(self) -> list[EnvironmentReport]:
        return [
            EnvironmentReport(name, "bench-version", _target().spec.counted_as, 1_769, False, (lease.epoch, lease.fence), "")
            for name, lease in self._environments.items()
        ]

    async def measure(self, seconds: float) -> list[float]:
        await self._dispatcher.open()
        stop = asyncio.Event()
        beating = asyncio.create_task(self._membership.run(stop))
        leases = self._dispatcher.cells[0]._leases
        version = leases.version(_target())
        async with asyncio.timeout(READY_TIMEOUT_S):
            while self._membership.problem or not isinstance(lease := await leases.acquire(version), Lease):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        self._environments[lease.environment_id] = lease
        leases.release(lease, IDLE)
        rates = []
        for number in range(ROUNDS + 1):
            pairs, started = self.pairs, time.perf_counter()
            until = started + (seconds if number else 0.5)
            await asyncio.gather(*(self._pairs(version, until) for _ in range(self._callers)))
            rates.append((self.pairs - pairs) / (time.perf_counter() - started))
            if number == 0:
                self.latencies_s = array("f")
        await self._dispatcher.close()
        stop.set()
        await beating
        await self._membership.leave()
        return rates[1:]

    async def _pairs(self, version: object, until: float) -> None:
        leases, clock = self._dispatcher.cells[0]._leases, time.perf_counter
        while (begin := clock()) < until:
            lease = await leases.acquire(version)  # type: ignore[arg-type]
            if not isinstance(lease, Lease):
                raise RuntimeError(f"no lease: {lease}")
            self.latencies_s.append(clock() - begin)
            if lease.cold:
                self._environments[lease.environment_id] = lease
            leases.release(lease, IDLE)
            self.pairs += 1


async def main(seconds: float, callers: int) -> None:
    holder = _Holder(Settings(), callers)
    rates = sorted(await holder.measure(seconds))
    latencies = sorted(holder.latencies_s)
    figures = {
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "per_s": rates[len(rates) // 2],
        "count": len(latencies),
        "note": "p50, p99: of an acquire under this load",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]), int(sys.argv[2])))
