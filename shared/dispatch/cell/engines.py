"""Where the cluster's engines are, for workers, whose functions must not reach them. A worker is not told of all engines (it
needs no Postgres), nor by which names brokers are advertised; a frontend knows.

Every frontend tells it again and again, in the sorted set `engines`: `<IP address> <port>`, scored by when it was last said
(Unix time). cluster_addresses.py reads it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.dispatch.cell.keys import Keys
from shared.settings import Settings

log = logging.getLogger("lambdad.dispatch")

TELL_INTERVAL_S = 30.0
NO_BROKERS_INTERVAL_S = 2.0
TELL_TIMEOUT_S = 5.0
TOLD_FOR_S = 86_400.0
"""What no frontend has said for so long is no engine's address any more."""
_RESOLVE_TIMEOUT_S = 10.0

Address = tuple[str, int]
"""A host, by name or IP address, and a TCP port of it."""


class EngineAnnouncer:
    """brokers: as Kafka advertises them, none while it is not connected."""

    def __init__(self, redis: Redis, settings: Settings, brokers: Callable[[], Collection[Address]]) -> None:
        self._redis = redis
        self._keys = Keys(settings.dispatch.cell)
        self._settings = settings
        self._brokers = brokers

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.tell()
            await asyncio.sleep(TELL_INTERVAL_S if self._brokers() else NO_BROKERS_INTERVAL_S)

    async def tell(self) -> None:
        """Once, now. Never raises: it is said again soon, and what was said is known for a day."""
        found = as_others_see(await resolved({*engines(self._settings), *self._brokers()}), own_addresses())
        now = time.time()
        try:
            async with asyncio.timeout(TELL_TIMEOUT_S):
                await self._redis.zremrangebyscore(self._keys.engines, "-inf", now - TOLD_FOR_S)
                told = {f"{address} {port}": now for address, port in found}
                if told and await self._redis.zadd(self._keys.engines, told):
                    await self._redis.publish(self._keys.events, "engines")
        except (RedisError, OSError) as error:  # TimeoutError is one.
            log.warning("workers were not told where the engines are: %s", error or type(error).__name__)


def engines(settings: Settings) -> list[Address]:
    """Every engine that the settings name as the cluster's own."""
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


async def resolved(names: Iterable[Address]) -> set[Address]:
    """By IP address. What does not resolve now is left out: it leads nowhere."""
    found: set[Address] = set()
    for each in await asyncio.gather(*(_resolved(host, port) for host, port in names)):
        found |= each
    return found


async def _resolved(host: str, port: int) -> set[Address]:
    try:
        return {(str(ipaddress.ip_address(host)), port)}
    except ValueError:
        pass
    try:
        async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {(str(ipaddress.ip_address(str(address[0]).partition("%")[0])), port) for *_, address in answers}


def as_others_see(found: Iterable[Address], own: Collection[str]) -> set[Address]:
    """What is on this host's loopback may be listening on its other addresses, too. own: these."""
    seen: set[Address] = set()
    for address, port in found:
        seen |= {(each, port) for each in (own if ipaddress.ip_address(address).is_loopback else [address])}
    return seen


def own_addresses(proc: Path = Path("/proc/net")) -> set[str]:
    """This host's IP addresses, by which others may reach it; none where the kernel does not tell."""
    try:
        found = set(re.findall(r"-- (\S+)\n\s+/32 host LOCAL", (proc / "fib_trie").read_text()))
        found |= {str(ipaddress.ip_address(bytes.fromhex(line[:32]))) for line in (proc / "if_inet6").read_text().splitlines()}
    except OSError:
        return set()
    addresses = (ipaddress.ip_address(each) for each in found)
    return {str(each) for each in addresses if not each.is_loopback and not each.is_link_local}
