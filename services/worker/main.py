"""The worker service: the only place where its parts are put together."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading

from prometheus_client import REGISTRY

from services.worker import rootless
from services.worker.callers.server import WorkerServer
from services.worker.code.cache import CodeCache
from services.worker.deployments import Deployments
from services.worker.environment.credentials import function_credentials
from services.worker.fleet import Fleet, StartSettings
from services.worker.pool import SandboxPool
from services.worker.pressure import MemoryPressure
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.variables import function_variables
from services.worker.sandbox import cgroups, dead_cgroups
from services.worker.sandbox.network.addresses import ENDPOINT_URL
from services.worker.sandbox.network.endpoint import EndpointWatch
from services.worker.sandbox.network.from_settings import ServicesKeptOut, endpoint
from services.worker.telemetry.environment_log import LogSink
from services.worker.telemetry.log_shipper import LogShipper
from services.worker.telemetry.metrics import EnvironmentMetrics
from services.worker.workspace import Workspace, claim, remove_abandoned
from shared.dispatch.cell.deployment import Deployment
from shared.dispatch.cell.membership import WorkerMembership
from shared.domain.functions import VersionSpec
from shared.domain.networks import NONE, wants_network
from shared.registry.packages import PackageStore
from shared.settings import Settings
from shared.telemetry.health import HealthServer
from shared.telemetry.supervision import keep_running

log = logging.getLogger("lambdad.worker")

prepare = rootless.enter
"""What a worker does while its process has one thread."""

DESTROY_TIMEOUT_S = 3.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run functions until `stop` is set; then refuse new invocations, wait for running ones, and destroy everything.

    Raises ConfigurationError when this host cannot give what sandboxes promise, or the port or directory is taken."""
    workspace = claim(settings.data_dir, settings.instance)
    try:
        cache = CodeCache(PackageStore(settings), workspace.path / "code", settings.worker.code_cache_bytes_max)
        await cache.start()
        pool = SandboxPool(settings, workspace.path)
        await pool.start()
        try:
            await _serve_on(settings, stop, pool, cache, workspace)
        finally:
            await cache.close()
            await pool.close()
    finally:
        workspace.release()


async def _serve_on(settings: Settings, stop: asyncio.Event, pool: SandboxPool, cache: CodeCache, workspace: Workspace) -> None:
    worker = settings.worker
    logs = LogShipper(settings)
    metrics = EnvironmentMetrics()
    capabilities = pool.catalogue.capabilities()
    fleet = Fleet(
        pool=pool,
        code=cache,
        start=StartSettings(
            open_log=logs.open,
            variables=functools.partial(_variables, pool.catalogue, settings),
            subscribers=(metrics.count,),
        ),
        environments_max=worker.environments_max,
        on_gone=lambda environment_id: membership.environment_gone(environment_id),
        epoch=lambda: membership.epoch,
        architecture=capabilities.architecture,
    )
    pool.on_network_lost = fleet.replace_all
    deployments = Deployments(functools.partial(_get_ready, pool, cache))
    server = WorkerServer(settings, fleet)
    await server.start()
    membership = WorkerMembership(
        settings,
        settings.instance,
        server.address,
        worker.environments_max,
        int(pool.memory_mb * worker.memory_overcommit),
        fleet.inventory,
        capabilities,
        fleet.retire,
        deployments.add,
        before_joining=lambda: kept_out.look(),
    )
    kept_out = ServicesKeptOut(settings, pool.network, membership.cluster)
    watch = EndpointWatch(endpoint(settings))
    REGISTRY.register(metrics)
    log.info("listens on %s with room for %d environments", server.address, worker.environments_max)
    try:
        async with HealthServer(
            settings.telemetry,
            service="worker",
            checks={"cluster": lambda: membership.problem},
            details={"weaker": lambda: pool.weaker() | watch.weaker()},
        ):
            async with asyncio.TaskGroup() as group:
                memory = MemoryPressure(pool.memory_mb * 1024**2, pool.used_bytes, fleet.idle, fleet.stop)
                background = [
                    group.create_task(keep_running(name, work), name=name)
                    for name, work in (
                        ("log-shipper", logs.run),
                        ("memory-pressure", memory.run),
                        ("network-refusals", kept_out.run),
                        *([("network-endpoint", watch.run)] if _leads_to_endpoint(settings) else []),
                    )
                ]
                # Heartbeats go on while the worker drains: what still runs is not given up for lost.
                left = asyncio.Event()
                group.create_task(membership.run(left), name="membership")
                tidying = threading.Event()
                group.create_task(asyncio.to_thread(remove_abandoned, settings.data_dir, workspace.path, tidying))
                if worker.isolation != rootless.ROOTLESS:
                    group.create_task(asyncio.to_thread(dead_cgroups.tidy_up, cgroups.mount_points(), tidying))
                await stop.wait()
                tidying.set()
                deployments.close()
                await membership.drain()
                await server.drain(worker.drain_timeout_s)
                await fleet.close(DESTROY_TIMEOUT_S)
                left.set()
                for task in background:
                    task.cancel()
    finally:
        REGISTRY.unregister(metrics)
        deployments.close()
        await fleet.close(DESTROY_TIMEOUT_S)
        server.close()
        await membership.leave()


def _get_ready(pool: SandboxPool, cache: CodeCache, deployment: Deployment) -> None:
    pool.expect(deployment.runtime, deployment.memory_mb)
    cache.fetch_ahead(deployment)


def _variables(catalogue: Catalogue, settings: Settings, spec: VersionSpec, sink: LogSink) -> dict[str, str]:
    credentials = function_credentials(settings.cluster_secret.get_secret_value().encode(), spec)
    return function_variables(
        catalogue.family(spec.runtime),
        spec,
        log_stream=sink.name,
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        session_token=credentials.session_token,
        endpoint_url=ENDPOINT_URL if _leads_to_endpoint(settings) and wants_network(spec.environment) else None,
    )


def _leads_to_endpoint(settings: Settings) -> bool:
    """Those of its functions that want a network."""
    has_network = settings.network.kind != NONE and settings.worker.isolation != rootless.ROOTLESS
    return has_network and settings.functions.endpoint_variable
