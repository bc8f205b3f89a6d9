"""Which addresses a mapping's owner may have pollers connect to, when a request names a Kafka cluster itself.

Everything, as on AWS, but what the operator closes, and the cluster's own Redis and Postgres: whoever may create a mapping must
not be able to look around the operator's network by it, or to send bytes to what has no business with them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from shared.settings import EventSettings, Settings

RESOLVE_TIMEOUT_S = 5.0
Address = tuple[IPv4Address | IPv6Address, int]


def literal_refusal(servers: Iterable[str], settings: Settings) -> str | None:
    """What is to be said against servers that are named by an IP address; nothing is looked up. Those that the settings name
    are fine."""
    servers = tuple(servers)
    if not servers or settings.named_kafka(",".join(servers)) is not None:
        return None
    engines = {address for host, port in _engines(settings) if (address := _literal(host, port)) is not None}
    for server in servers:
        address = _literal(*_parted(server))
        if address is not None and (refusal := _refusal(server, address, engines, settings.events)) is not None:
            return refusal
    return None


async def refusal_of(servers: Iterable[str], settings: Settings) -> str | None:
    """What is to be said against servers once their names are looked up. Raises OSError, TimeoutError when that fails."""
    engines: set[Address] = set()
    for host, port in _engines(settings):
        engines |= await _resolved(host, port)
    for server in servers:
        for address in await _resolved(*_parted(server)):
            if (refusal := _refusal(server, address, engines, settings.events)) is not None:
                return refusal
    return None


def _refusal(server: str, address: Address, engines: Collection[Address], settings: EventSettings) -> str | None:
    ip, _ = address
    ip = (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
    allowed, denied = settings.kafka_networks_allowed, settings.kafka_networks_denied
    # An address may be that of this machine by any of its names: the port of an engine is enough on loopback.
    own = any(address == engine or (ip.is_loopback and engine[0].is_loopback and address[1] == engine[1]) for engine in engines)
    if own or any(ip in network for network in denied) or (allowed and not any(ip in network for network in allowed)):
        return f"{server} is not an address that event source mappings may connect to here."
    return None


def _engines(settings: Settings) -> list[tuple[str, int]]:
    urls = ((settings.redis_url, 6379), (settings.queues_url, 6379), (settings.database_url, 5432))
    return [(parts.hostname or "127.0.0.1", parts.port or default) for url, default in urls if (parts := urlsplit(url))]


def _parted(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def _literal(host: str, port: int) -> Address | None:
    try:
        return ip_address("127.0.0.1" if host == "localhost" else host), port
    except ValueError:
        return None


async def _resolved(host: str, port: int) -> set[Address]:
    async with asyncio.timeout(RESOLVE_TIMEOUT_S):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {(ip_address(str(entry[4][0]).partition("%")[0]), port) for entry in found}
