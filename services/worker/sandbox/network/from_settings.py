"""The network that the settings ask for."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from services.worker.sandbox.network.addresses import ENDPOINT_PORT, RESOLVER_PORT
from services.worker.sandbox.network.gateway.process import GatewayOptions
from services.worker.sandbox.network.keeper.options import KeeperOptions, Reach
from services.worker.sandbox.network.kept import Addresses, KeptNetwork
from services.worker.sandbox.network.own import OwnNetwork
from shared.settings import Settings

_RESOLVE_TIMEOUT_S = 10.0
LOOK_INTERVAL_S = 30.0
_EVERY_ADDRESS = ("0.0.0.0", "::", "")


def network(settings: Settings, on_lost: Callable[[], None]) -> KeptNetwork | OwnNetwork:
    if settings.worker.isolation == "rootless":
        return OwnNetwork(settings.network.kind)
    own, frontend = settings.network, settings.frontend
    host = own.endpoint_host or ("127.0.0.1" if frontend.host in _EVERY_ADDRESS else frontend.host)
    port = own.endpoint_port or frontend.port
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


async def keep_engines_out(settings: Settings, provider: KeptNetwork | OwnNetwork) -> None:
    """For as long as the worker runs: names of engines may lead elsewhere later."""
    while True:
        provider.refuse(await _addresses(engines(settings)))
        await asyncio.sleep(LOOK_INTERVAL_S)


def engines(settings: Settings) -> list[tuple[str, int]]:
    """Host and port of every engine that the settings name as the cluster's own."""
    found = []
    for url, default in ((settings.redis_url, 6379), (settings.queues_url, 6379), (settings.database_url, 5432)):
        parts = urlsplit(url)
        if parts.hostname:
            found.append((parts.hostname, parts.port or default))
    for server in settings.kafka_bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if host and port.isdigit():
            found.append((host.strip("[]"), int(port)))
    return sorted(set(found))


async def _addresses(names: list[tuple[str, int]]) -> Addresses:
    """What does not resolve now is left out: it leads nowhere."""
    loop = asyncio.get_running_loop()
    found: set[tuple[str, int]] = set()
    for host, port in names:
        try:
            async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
                answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        for *_, address in answers:
            found.add((str(ipaddress.ip_address(str(address[0]).partition("%")[0])), port))
    return sorted(found)
