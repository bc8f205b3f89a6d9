"""Which addresses a mapping's owner may have pollers connect to, when a request names a Kafka cluster itself.

Everything, as on AWS, but what the operator closes, and the cluster's own Redis and Postgres: whoever may create a mapping must
not be able to look around the operator's network by it, or to send bytes to what has no business with them.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.events.addresses import Address, is_closed, literal, registry_engines, resolved
from shared.settings import EventSettings, Settings


def literal_refusal(servers: Iterable[str], settings: Settings) -> str | None:
    """What is to be said against servers that are named by an IP address; nothing is looked up. Those that the settings name
    are fine."""
    servers = tuple(servers)
    if not servers or settings.named_kafka(",".join(servers)) is not None:
        return None
    engines = {address for host, port in registry_engines(settings) if (address := literal(host, port)) is not None}
    for server in servers:
        address = literal(*_parted(server))
        if address is not None and (refusal := _refusal(server, address, engines, settings.events)) is not None:
            return refusal
    return None


async def refusal_of(servers: Iterable[str], settings: Settings) -> str | None:
    """What is to be said against servers once their names are looked up. Raises OSError, TimeoutError when that fails."""
    engines: set[Address] = set()
    for host, port in registry_engines(settings):
        engines |= await resolved(host, port)
    for server in servers:
        for address in await resolved(*_parted(server)):
            if (refusal := _refusal(server, address, engines, settings.events)) is not None:
                return refusal
    return None


def _refusal(server: str, address: Address, engines: set[Address], settings: EventSettings) -> str | None:
    if is_closed(address, engines, settings.kafka_networks_allowed, settings.kafka_networks_denied):
        return f"{server} is not an address that event source mappings may connect to here."
    return None


def _parted(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
