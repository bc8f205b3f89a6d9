"""Addresses that clients name and that services of the cluster then connect to: which of them are closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from pydantic import IPvAnyNetwork

from shared.settings import Settings

RESOLVE_TIMEOUT_S = 5.0
Address = tuple[IPv4Address | IPv6Address, int]


def is_closed(
    address: Address, engines: Collection[Address], allowed: Collection[IPvAnyNetwork], denied: Collection[IPvAnyNetwork]
) -> bool:
    """Whether it is an engine's, or in a network that the operator closes. allowed: everywhere when there is none."""
    ip, port = address
    ip = (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
    # An address may be that of this machine by any of its names: the port of an engine is enough on loopback.
    own = any(address == engine or (ip.is_loopback and engine[0].is_loopback and port == engine[1]) for engine in engines)
    return own or any(ip in network for network in denied) or bool(allowed and not any(ip in network for network in allowed))


def registry_engines(settings: Settings) -> list[tuple[str, int]]:
    """Host and port of Redis and Postgres."""
    urls = ((settings.redis_url, 6379), (settings.queues_url, 6379), (settings.database_url, 5432))
    return [(parts.hostname or "127.0.0.1", parts.port or default) for url, default in urls if (parts := urlsplit(url))]


def kafka_engines(settings: Settings) -> list[tuple[str, int]]:
    """Host and port of the cluster's own brokers, as far as the settings name them."""
    servers = (server.strip().rpartition(":") for server in settings.kafka_bootstrap_servers.split(","))
    return [(host.strip("[]"), int(port)) for host, _, port in servers if port.isdigit()]


def literal(host: str, port: int) -> Address | None:
    """Of a host that is an IP address; nothing is looked up."""
    try:
        return ip_address("127.0.0.1" if host == "localhost" else host), port
    except ValueError:
        return None


async def resolved(host: str, port: int) -> set[Address]:
    """Raises OSError, TimeoutError."""
    async with asyncio.timeout(RESOLVE_TIMEOUT_S):
        entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {(ip_address(str(entry[4][0]).partition("%")[0]), port) for entry in entries}


async def open_addresses(host: str, port: int, settings: Settings) -> list[str]:
    """IP addresses that a name leads to and that something may be posted to, IPv4 first. Raises OSError, TimeoutError."""
    engines: set[Address] = set()
    for engine in (*registry_engines(settings), *kafka_engines(settings)):
        engines |= await resolved(*engine)
    allowed, denied = settings.events.http_networks_allowed, settings.events.http_networks_denied
    found = [address for address, _ in await resolved(host, port) if not is_closed((address, port), engines, allowed, denied)]
    return [str(address) for address in sorted(found, key=lambda address: (address.version, str(address)))]
