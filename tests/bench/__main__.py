"""`python -m tests.bench [NAME ...]`: measure lambdad and its peers side by side on this machine.

Every benchmark is bounded in time and ends its processes by itself. A peer that cannot be installed or started is reported as
absent. Results: a table on stdout, and bench-results/DATE.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench import (
    backlog_cases,
    cold_cases,
    density_cases,
    egress,
    event_cases,
    http_cases,
    leases,
    ledger_cases,
    memory_cases,
    patterns,
    placement,
    queue_cases,
    queue_engine,
    registry_cases,
    report,
    schedules,
    thaw,
    topic_cases,
)
from tests.bench.http_cases import Running
from tests.bench.peers import HttpPeer
from tests.bench.peers.cluster import Cluster, Lambdad
from tests.bench.peers.echo import Echo
from tests.bench.peers.ministack import MiniStack
from tests.bench.peers.moto import Moto
from tests.bench.peers.serverless_offline import ServerlessOffline
from tests.bench.peers.taskiq_redis import Taskiq
from tests.bench.report import Outcome

HTTP = ("warm-latency", "warm-throughput")
COLD = (
    "cold-start",
    "cold-start-boto3",
    "cold-start-provided",
    "cold-start-java",
    "cold-start-ruby",
    "cold-start-large",
    "burst",
    "cold-start-crowded",
)
EVENTS = ("asynchronous", "kafka-trigger", "neighbours", "topics")
QUEUES = ("queues", "queue-rate", "ledger-rate")
REGISTRY = ("registry-get", "registry-create", "registry-list", "registry-million")
DEFAULT = (
    *HTTP,
    *COLD,
    "density",
    "thaw",
    "egress",
    "lease-rate",
    "placement",
    "patterns",
    *EVENTS,
    "schedules",
    *QUEUES,
    *REGISTRY,
)
BY_NAME = ("crowd", "backlog-events", "backlog-messages", "backlog-deliveries")
"""Take minutes, and gigabytes of memory or of the disk: asked for by their names."""
NAMES = (*DEFAULT, *BY_NAME)


class Bench:
    """One run. Peers are started once, before the first benchmark that needs them, and stopped at the end."""

    def __init__(self, workdir: Path, seconds: float, only_ours: bool) -> None:
        self._workdir = workdir
        self._seconds = seconds
        self._only_ours = only_ours
        self._cluster = Cluster()
        self._cluster_absent: str | None = None
        self._http: Running = []
        self._echo: Running = []
        self._registry: Running = []
        self._alone: tuple[Lambdad, str | None] | None = None
        self._taskiq: tuple[Taskiq, str | None] | None = None

    def run(self, name: str) -> Outcome:
        match name:
            case "warm-latency":
                return http_cases.warm_latency(self._warm_peers(), self._seconds)
            case "warm-throughput":
                return http_cases.warm_throughput(self._warm_peers(), self._seconds)
            case "cold-start":
                return cold_cases.cold_start(self._http_peers())
            case "cold-start-boto3":
                return cold_cases.cold_start_boto3(self._http_peers())
            case "cold-start-provided":
                return cold_cases.cold_start_provided(*self._ours())
            case "cold-start-java":
                return cold_cases.cold_start_java(*self._ours())
            case "cold-start-ruby":
                return cold_cases.cold_start_ruby(*self._ours())
            case "cold-start-large":
                return cold_cases.cold_start_large(*self._ours())
            case "burst":
                return cold_cases.burst(*self._ours())
            case "cold-start-crowded":
                return cold_cases.cold_start_crowded(*self._ours())
            case "density":
                return density_cases.density(*self._ours())
            case "crowd":
                return density_cases.crowd(*self._ours())
            case "thaw":
                return thaw.thaw()
            case "egress":
                return egress.egress(self._seconds)
            case "lease-rate":
                return leases.lease_rate(self._workdir, self._seconds)
            case "placement":
                return placement.placement(self._workdir)
            case "patterns":
                return patterns.patterns(self._seconds)
            case "asynchronous":
                self._start_cluster()
                return event_cases.asynchronous(self._cluster, self._cluster_absent, self._seconds, self._start_taskiq())
            case "kafka-trigger":
                self._start_cluster()
                return event_cases.kafka_trigger(self._cluster, self._cluster_absent)
            case "queues":
                return queue_cases.queues(self._queue_peers(), self._seconds)
            case "queue-rate":
                return queue_engine.queue_rate(self._workdir, self._seconds)
            case "schedules":
                self._start_cluster()
                return schedules.schedules(self._cluster, self._cluster_absent)
            case "topics":
                self._start_cluster()
                return topic_cases.topics(self._cluster, self._cluster_absent, self._seconds)
            case "neighbours":
                self._start_cluster()
                return backlog_cases.neighbours(self._cluster, self._cluster_absent)
            case "backlog-events":
                self._start_cluster()
                return memory_cases.events(self._cluster, self._cluster_absent)
            case "backlog-messages":
                self._start_cluster()
                return memory_cases.messages(self._cluster, self._cluster_absent)
            case "backlog-deliveries":
                self._start_cluster()
                return memory_cases.deliveries(self._cluster, self._cluster_absent)
            case "ledger-rate":
                return ledger_cases.ledger_rate(self._workdir, self._seconds)
            case "registry-get":
                return registry_cases.get(self._registry_peers())
            case "registry-create":
                return registry_cases.create(self._registry_peers())
            case "registry-list":
                self._start_cluster()
                return registry_cases.listing(self._cluster, self._cluster_absent)
            case "registry-million":
                self._start_cluster()
                return registry_cases.million(self._cluster, self._cluster_absent)
        raise ValueError(name)

    def _start_cluster(self) -> None:
        try:
            self._cluster.start(self._workdir)
        except Exception as error:
            self._cluster_absent = f"did not start: {error}"

    def _http_peers(self) -> Running:
        if not self._http:
            peers: list[HttpPeer] = [Lambdad(self._cluster, "python"), Lambdad(self._cluster, "node")]
            if not self._only_ours:
                peers += [ServerlessOffline(in_process=True), ServerlessOffline(in_process=False), MiniStack()]
            cold = cold_cases.asked_for()
            for peer in peers:
                self._http.append((peer, _started(peer.name, lambda peer=peer: peer.start(self._workdir, cold=cold))))
        return self._http

    def _ours(self) -> tuple[Lambdad, str | None]:
        """What no peer is asked for needs none of them started."""
        if self._alone is None:
            ours = Lambdad(self._cluster, "python")
            self._alone = ours, _started(ours.name, lambda: ours.start(self._workdir, cold={}))
        return self._alone

    def _warm_peers(self) -> Running:
        """With the echo, which is not left out while tuning: it says what the machine is worth at the moment."""
        if not self._echo:
            echo = Echo()
            self._echo = [(echo, _started(echo.name, lambda: echo.start(self._workdir, cold={})))]
        return self._http_peers() + self._echo

    def _registry_peers(self) -> Running:
        """A control plane needs no runtime: ours once, and those that only keep functions."""
        if not self._registry:
            peers: list[HttpPeer] = [Lambdad(self._cluster, "python")]
            peers += [] if self._only_ours else [MiniStack(), Moto()]
            self._registry = [
                (peer, _started(peer.name, lambda peer=peer: peer.start(self._workdir, cold={}))) for peer in peers
            ]
        return self._registry

    def _queue_peers(self) -> Running:
        """Those of the registry but moto, whose queues are for tests of a few messages."""
        return [(peer, why) for peer, why in self._registry_peers() if not isinstance(peer, Moto)]

    def _start_taskiq(self) -> tuple[Taskiq, str | None]:
        if self._taskiq is None:
            peer = Taskiq()
            why = "left out" if self._only_ours else _started(peer.name, lambda: peer.start(self._workdir))
            self._taskiq = peer, why
        return self._taskiq

    def close(self) -> None:
        stops = [peer.stop for peer, _ in self._http + self._echo + self._registry] + [self._cluster.stop]
        if self._taskiq:
            stops.append(self._taskiq[0].stop)
        for stop in stops:
            try:
                stop()
            except Exception as error:
                print(f"could not stop a peer: {error}", file=sys.stderr)


def _started(name: str, start: object) -> str | None:
    print(f"starting {name}", flush=True)
    try:
        start()  # type: ignore[operator]
    except Exception as error:
        print(f"  absent: {error}", flush=True)
        return f"did not start: {error}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Benchmarks against peers, side by side.")
    names = f"one or several of {', '.join(NAMES)}; all but {', '.join(BY_NAME)} by default"
    parser.add_argument("name", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round of load, three rounds a peer (default 4)")
    parser.add_argument("--only-ours", action="store_true", help="leave the peers out (while tuning)")
    parser.add_argument("--keep", action="store_true", help="keep the logs of everything that was started, and say where")
    options = parser.parse_args()
    unknown = [name for name in options.name if name not in NAMES]
    if unknown or not 0.2 <= options.seconds <= 60:
        parser.error(f"no benchmark is called {unknown[0]}" if unknown else "--seconds must be from 0.2 to 60")
    # A stop by signal goes through the same clean-up as any other end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["LAMBDAD_ENDS_WITH"] = str(os.getpid())
    workdir = Path(tempfile.mkdtemp(prefix="lambdad-bench-"))
    machine = report.machine()
    bench = Bench(workdir, options.seconds, options.only_ours)
    outcomes = []
    try:
        for name in options.name or DEFAULT:
            print(f"measuring {name}", flush=True)
            outcomes.append(bench.run(name))
    finally:
        bench.close()
        if options.keep:
            print(f"logs: {workdir}")
        else:
            shutil.rmtree(workdir, ignore_errors=True)
    print()
    print(report.table(outcomes, machine))
    print(f"kept in {report.keep(outcomes, machine)}")
    failed = [row.peer for outcome in outcomes for row in outcome.rows if row.ours and (row.absent or row.failed)]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
