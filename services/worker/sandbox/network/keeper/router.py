"""The router: a namespace between the slots and the host. What leads from a slot anywhere is decided here.

Its devices: one for each slot, `up` to the host, and `lo` with the address of the cluster's endpoint. A packet of a slot is
routed by a table of its own, in which no slot is: to what may be reached by `up`, else refused. What comes by `up` is let in
when it is an answer. What leaves by `up` has the router's address: the host sees one neighbour, however many slots there are.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence

from services.worker.sandbox.network.addresses import ENDPOINT, RESOLVER_PORT
from services.worker.sandbox.network.keeper import links, namespaces, nftables
from services.worker.sandbox.network.keeper.netlink import NETFILTER, ROUTE, Message, NetlinkSocket
from services.worker.sandbox.network.keeper.plan import OWN_IPV6, Network, routes

UP = "up"
UP_INDEX = 999
TABLE = "lambdad"
_FROM_SLOTS = 100
"""The routing table for what slots send."""
_OF_ITSELF, _FROM_HOST, _OTHERS = 1000, 1001, 1002
"""Priorities of the rules that choose a table."""
ENDPOINT_IPV6 = OWN_IPV6[1]
"""Of slots' gateway alone: the endpoint answers by IPv4."""

_QUESTIONS_A_SECOND, _QUESTIONS_AT_ONCE = 2_000, 1_000
"""Datagrams of one slot to the resolver: more of them would take other slots' room."""
_QUESTIONS_BYTES = 4 * 1024 * 1024
_RECEIVE_BUFFER_FORCE = 33

Refused = tuple[links.Address, int]
"""One TCP port of an address."""
_REFUSED = (nftables.PortSet("refused4", 4), nftables.PortSet("refused6", 6))


class Router:
    """Made and changed from the namespace of its keeper, which is single-threaded. Methods raise OSError."""

    def __init__(self, ports: Sequence[int], connections_max: int, versions: Sequence[int]) -> None:
        """ports: where the endpoint answers. connections_max: of one slot at one time. versions: of IP."""
        self.namespace = namespaces.new()
        self.versions = tuple(versions)
        self._refused: set[Refused] = set()
        with namespaces.inside(self.namespace):
            self.links = NetlinkSocket(ROUTE)
            self.filters = NetlinkSocket(NETFILTER)
            namespaces.set_value("ipv4/ip_forward", "1")
            # Refusals are told each time, and take nothing from what the host may tell others.
            namespaces.set_value("ipv4/icmp_ratemask", "0")
            # The resolver's port, where a container's root may bind no low ones.
            namespaces.set_value("ipv4/ip_unprivileged_port_start", "0")
            if 6 in versions:
                namespaces.set_value("ipv6/conf/all/forwarding", "1")
                namespaces.set_value("ipv6/icmp/ratelimit", "0")
        self.links.request(links.up(links.LOOPBACK), links.address(links.LOOPBACK, ipaddress.ip_address(ENDPOINT)))
        if 6 in versions:
            self.links.request(links.address(links.LOOPBACK, ENDPOINT_IPV6))
        self.links.request(*(rule for version in versions for rule in _choice_of_tables(version)))
        for version in versions:
            self._set_routes([(ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0"), False)])
        self.filters.request(*nftables.table(TABLE, *_rules(ports, connections_max)))

    def open_up(self, gateways: Sequence[links.Address], allowed: Sequence[Network], denied: Iterable[Network]) -> None:
        """Lead what may be reached by `up`, which is there: to the host's address of each version."""
        denied = tuple(denied)
        for gateway in gateways:
            every = ipaddress.ip_network("0.0.0.0/0" if gateway.version == 4 else "::/0")
            self.links.request(links.route(every, device=UP_INDEX, gateway=gateway))
            self._set_routes(list(routes(gateway.version, allowed, denied)), gateway)

    def _set_routes(self, planned: Sequence[tuple[Network, bool]], gateway: links.Address | None = None) -> None:
        for network, reachable in planned:
            if reachable:
                route = links.route(network, device=UP_INDEX, gateway=gateway, table=_FROM_SLOTS)
            else:
                route = links.route(network, kind=links.PROHIBIT, table=_FROM_SLOTS)
            self.links.request(route)

    def refuse(self, more: set[Refused], no_more: set[Refused]) -> None:
        """Hundreds at a time."""
        for ports in _REFUSED:
            for changed, gone in ((no_more & self._refused, True), (more - self._refused, False)):
                listed = [(address.packed, port) for address, port in changed if address.version == ports.version]
                if listed:
                    self.filters.request(*nftables.elements(TABLE, ports, listed, gone=gone))
        self._refused = (self._refused - no_more) | more

    def tracks_connections(self) -> bool:
        with namespaces.inside(self.namespace):
            return namespaces.value("netfilter/nf_conntrack_count") != "0"

    def listen(self, kind: socket.SocketKind, port: int) -> socket.socket:
        """A socket of the endpoint's address."""
        with namespaces.inside(self.namespace):
            listener = socket.socket(socket.AF_INET, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ENDPOINT, port))
        if kind is socket.SOCK_STREAM:
            listener.listen(256)
        else:
            listener.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _QUESTIONS_BYTES)
        listener.setblocking(False)
        return listener

    def close(self) -> None:
        self.links.close()
        self.filters.close()
        os.close(self.namespace)


def _choice_of_tables(version: int) -> list[Message]:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return [
        links.rule(family, _OF_ITSELF, links.MAIN, "lo"),
        links.rule(family, _FROM_HOST, links.MAIN, UP),
        links.rule(family, _OTHERS, _FROM_SLOTS),
    ]


def _rules(
    ports: Sequence[int], connections_max: int
) -> tuple[list[nftables.Chain], list[nftables.CountedSet | nftables.PortSet]]:
    n = nftables
    from_host, from_slot = n.arrives_on(UP), n.arrives_on(UP, otherwise=True)
    counted = [n.CountedSet("connections4", 4), n.CountedSet("connections6", 16)]
    endpoint = [*from_slot, *n.to_address(socket.inet_aton(ENDPOINT))]
    served = [n.to_port(n.TCP, port) for port in (*ports, RESOLVER_PORT)] + [n.to_port(n.UDP, RESOLVER_PORT)]
    questions = n.CountedSet("questions4", 4, forgotten_after_s=60)
    asks_too_much = [
        *endpoint,
        *n.to_port(n.UDP, RESOLVER_PORT),
        *n.more_packets_than(_QUESTIONS_A_SECOND, _QUESTIONS_AT_ONCE, questions),
        *n.drop(),
    ]
    too_many = [[*from_slot, *n.more_connections_than(connections_max, each), *n.refuse()] for each in counted]
    arriving = n.Chain(
        "arriving",
        n.PREROUTING,
        n.MANGLE,
        [
            [*n.is_spoofed(), *n.drop()],
            [*from_slot, *n.mark_by_source(4)],
            [*from_slot, *n.mark_by_source(6)],
        ],
    )
    for_itself = n.Chain(
        "for-itself",
        n.INPUT,
        n.FILTER,
        [
            [*n.arrives_on("lo"), *n.accept()],
            asks_too_much,
            [*n.is_answer(), *n.accept()],
            [*from_host, *n.drop()],
            *too_many,
            *([*endpoint, *each, *n.accept()] for each in served),
            n.refuse(),
        ],
    )
    # What is under way to the last owner of a slot is no answer any more once its connections are forgotten.
    of_itself = n.Chain(
        "of-itself",
        n.OUTPUT,
        n.FILTER,
        [
            [*n.leaves_by("lo"), *n.accept()],
            [*n.leaves_by(UP), *n.accept()],
            [*n.is_answer(), *n.accept()],
            n.drop(),
        ],
    )
    passing = n.Chain(
        "passing",
        n.FORWARD,
        n.FILTER,
        [
            # Connections that were there before as well.
            *([*n.to_one_of(n.TCP, each), *n.refuse()] for each in _REFUSED),
            [*n.is_answer(), *n.accept()],
            [*n.is_invalid(), *n.drop()],
            [*from_host, *n.drop()],
            [*n.leaves_by(UP, otherwise=True), *n.refuse()],
            *too_many,
        ],
    )
    leaving = n.Chain("leaving", n.POSTROUTING, n.SOURCE_NAT, [[*n.leaves_by(UP), *n.masquerade()]], kind="nat")
    return [arriving, for_itself, of_itself, passing, leaving], [*counted, questions, *_REFUSED]
