"""The network that the settings ask for."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from services.worker.sandbox.network.addresses import ENDPOINT_PORT, RESOLVER_PORT
from services.worker.sandbox.network.gateway.process import GatewayOptions
from services.worker.sandbox.network.keeper.options import KeeperOptions, Reach
from services.worker.sandbox.network.kept import KeptNetwork
from services.worker.sandbox.network.own import OwnNetwork
from shared.dispatch.cell.cluster_addresses import ClusterAddresses
from shared.dispatch.cell.engines import Address, engines, resolved
from shared.dispatch.cell.heartbeat import pause
from shared.redis.connection import RedisError
from shared.settings import Settings

log = logging.getLogger("lambdad.worker")

LOOK_INTERVAL_S = 30.0
REFUSED_MAX = 2_000
"""Engines first: the keeper is told of all within one step."""
_EVERY_ADDRESS = ("0.0.0.0", "::", "")


def network(settings: Settings, on_lost: Callable[[], None]) -> KeptNetwork | OwnNetwork:
    if settings.worker.isolation == "rootless":
        return OwnNetwork(settings.network.kind)
    own, frontend = settings.network, settings.frontend
    host, port = endpoint(settings)
    options = KeeperOptions(
        reach=Reach.OUTSIDE if own.kind == "public" else Reach.NOWHERE,
        # By the frontend's port, too: it is in the addresses of function URLs.
        ports=tuple(sorted({ENDPOINT_PORT, frontend.port or ENDPOINT_PORT, port})),
        connections_max=own.connections_max,
        allowed=tuple(str(each) for each in own.allowed),
        denied=tuple(str(each) for each in own.denied),
        attached=own.attached,
        bridges=own.bridges,
        gateway=GatewayOptions(
            endpoint=(host, port),
            resolvers=tuple((str(each), RESOLVER_PORT) for each in own.resolvers),
            domain=frontend.domain,
        ),
    )
    return KeptNetwork(options, on_lost)


def endpoint(settings: Settings) -> Address:
    """Where this host finds the cluster's endpoint."""
    own, frontend = settings.network, settings.frontend
    host = own.endpoint_host or ("127.0.0.1" if frontend.host in _EVERY_ADDRESS else frontend.host)
    return host, own.endpoint_port or frontend.port


class ServicesKeptOut:
    """Functions do not reach the cluster's engines, nor other workers. cluster: what the cell knows of them."""

    def __init__(self, settings: Settings, provider: KeptNetwork | OwnNetwork, cluster: ClusterAddresses) -> None:
        self._own = engines(settings)
        self._provider = provider
        self._cluster = cluster

    async def look(self) -> None:
        """Raises RedisError; what was refused stays so."""
        self._cluster.news.clear()
        found = await self._cluster.look()
        wanted = await resolved({*self._own, *found.engines})
        wanted |= set(sorted(await resolved(found.workers))[: max(0, REFUSED_MAX - len(wanted))])
        self._provider.refuse(wanted)

    async def run(self) -> None:
        """For as long as the worker runs: names may lead elsewhere later, and workers come and go."""
        while True:
            # Not all workers of a cluster at one time, when its Redis has come back.
            await pause(self._cluster.news, LOOK_INTERVAL_S * random.uniform(0.5, 1.0))
            try:
                await self.look()
            except RedisError as error:
                log.warning("what functions must not reach was not looked up again: %s", error)
