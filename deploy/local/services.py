"""The services of one local cluster: which run, which engines each waits for, and the variables that each gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from deploy.local.credentials import Credentials
from deploy.local.engines.external import CLIENT_VARIABLES
from deploy.local.launch import Launch
from deploy.local.layout import RUNTIMES, DataDir
from deploy.local.ports import LOOPBACK
from deploy.local.runtimes import example_runtime

ENGINES = ("redis", "postgres", "kafka")
QUEUES = "queues"
"""A second Redis, for queues alone: only where its operator names one."""

NEEDS: dict[str, frozenset[str]] = {
    "scheduler": frozenset({"redis", "postgres"}),
    "worker": frozenset({"redis"}),
    "frontend": frozenset(ENGINES),
    "poller": frozenset(ENGINES),
    "router": frozenset({*ENGINES, QUEUES}),
}
"""Service to the engines that must answer before it starts, as far as the cluster has them."""

STOP_ORDER: tuple[frozenset[str], ...] = (
    frozenset({"frontend", "poller", "router"}),  # what takes in work, and uses the workers to finish what it has
    frozenset({"worker", "scheduler"}),
    frozenset(ENGINES),
)
GIVES_WAY = {"poller": 5, "router": 5}
"""Who reads from Kafka has time: what waits there is safe, and whoever wants to put something there waits himself."""
STOP_TIMEOUT_S = 12.0
"""A service bounds its own stop at 10 s."""


@dataclass(frozen=True)
class Service:
    """kind: what `lambdad serve` is given. name: unique in the cluster, its log's name."""

    kind: str
    name: str
    telemetry_port: int
    ready_url: str

    @property
    def port(self) -> int | None:
        """Where it answers: a frontend shows its health at the endpoint itself."""
        return urlsplit(self.ready_url).port

    @property
    def needs(self) -> frozenset[str]:
        return NEEDS[self.kind]


@dataclass(frozen=True)
class ClusterOptions:
    """What `lambdad up` was told, and the addresses that came of it."""

    port: int
    workers: int
    auth: bool
    services: bool = True


def plan(options: ClusterOptions, port_of: Mapping[str, int]) -> list[Service]:
    """Every service of the cluster; `port_of` has a telemetry port for each name."""
    services = []
    for name in names(options):
        kind, port = name.partition("-")[0], port_of[name]
        url = f"http://{LOOPBACK}:{port}/ready"
        if kind == "frontend":
            url = f"http://{LOOPBACK}:{options.port}/_lambdad/ready"
        services.append(Service(kind, name, port, url))
    return services


def names(options: ClusterOptions) -> list[str]:
    """Name of every service process: the kind's, numbered where there may be several."""
    if not options.services:
        return []
    return [kind for kind in NEEDS if kind != "worker"] + [f"worker-{number}" for number in range(1, options.workers + 1)]


def command(
    service: Service, data: DataDir, options: ClusterOptions, engines: Mapping[str, str], credentials: Credentials
) -> Launch:
    """How to start a service. LAMBDAD_... of the caller's environment holds where the cluster has no say. engines: the
    variables of all of them."""
    environment = dict(os.environ)
    environment.setdefault("LAMBDAD_WORKER__RUNTIME_DIR", str(RUNTIMES))
    environment.setdefault("LAMBDAD_WORKER__PRESTART_RUNTIMES", msgspec.json.encode([example_runtime()]).decode())
    environment.setdefault("LAMBDAD_WORKER__HOST", "local")
    # Functions and services of one cluster talk to its own endpoint, never to what a shell was pointed at.
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA", *CLIENT_VARIABLES):
        environment.pop(name, None)
    environment |= {
        **engines,
        "LAMBDAD_DATA_DIR": str(data.root),
        "LAMBDAD_CLUSTER_SECRET": credentials.cluster_secret,
        "LAMBDAD_TELEMETRY__PORT": str(service.telemetry_port),
        "PYTHONUNBUFFERED": "1",
    }
    if service.kind in ("frontend", "worker"):
        # Workers lead their functions there.
        environment["LAMBDAD_FRONTEND__PORT"] = str(options.port)
    if service.kind == "frontend":
        environment |= {
            "LAMBDAD_FRONTEND__AUTH": "true" if options.auth else "false",
            "LAMBDAD_FRONTEND__ROOT_ACCESS_KEY_ID": credentials.access_key_id,
            "LAMBDAD_FRONTEND__ROOT_SECRET_ACCESS_KEY": credentials.secret_access_key,
        }
    return Launch(
        argv=(sys.executable, "-P", "-m", "deploy.local.cli", "serve", service.kind),
        log=data.log(service.name),
        environment=environment,
        cwd=data.root,
        # A worker lays out the file systems that functions' users see.
        umask=0o022 if service.kind == "worker" else 0o077,
        nice=GIVES_WAY.get(service.kind, 0),
    )
