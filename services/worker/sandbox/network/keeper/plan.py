"""What functions may reach, as routes: the longest prefix decides."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OWN_IPV6 = ipaddress.IPv6Network("fd6c:616d:6264::/48")
"""Slots' and uplinks' addresses (unique local ones: nobody else's)."""

NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata of most clouds; and slots and uplinks
        "100.100.100.200/32",  # metadata, Alibaba Cloud
        "168.63.129.16/32",  # the platform's own, Azure
        "192.0.0.192/32",  # metadata, Oracle Cloud
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::a9fe:0/112",  # link-local ones by way of NAT64
        "fe80::/10",
        "fd00:ec2::/32",  # metadata, AWS
        "fd20:ce::254/128",  # metadata, Google Cloud
        "fd00:c1::a9fe:a9fe/128",  # metadata, Oracle Cloud
        "fd00:42::42/128",  # metadata, Scaleway
        "fd00:a9fe:a9fe::1/128",  # metadata, Linode
        "fd00:100::100:200/128",  # metadata, Alibaba Cloud
        str(OWN_IPV6),
        "ff00::/8",
    )
)


def routes(version: int, allowed: Sequence[Network], denied: Iterable[Network]) -> Iterator[tuple[Network, bool]]:
    """Each network with whether it may be reached. allowed: everywhere when there is none (of either version). What is denied
    stays so, whatever within it is allowed."""
    closed = [network for network in (*NEVER, *denied) if network.version == version]
    everything = ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0")
    opened = [network for network in allowed if network.version == version] if allowed else [everything]
    if everything not in opened:
        yield everything, False
    for network in opened:
        if not any(_is_within(network, other) for other in closed):
            yield network, True
    for network in closed:
        yield network, False


def _is_within(network: Network, other: Network) -> bool:
    return network.network_address in other and network.prefixlen >= other.prefixlen
