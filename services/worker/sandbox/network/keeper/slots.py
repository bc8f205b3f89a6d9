"""Slots: the network namespace of one sandbox at a time, its device, and its way to the router."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import sys

from services.worker.sandbox.network.addresses import ENDPOINT, RUNTIME_API
from services.worker.sandbox.network.keeper import links, namespaces, traces
from services.worker.sandbox.network.keeper.netlink import ROUTE, SOCKET_DIAGNOSIS, Message, NetlinkSocket
from services.worker.sandbox.network.keeper.plan import OWN_IPV6
from services.worker.sandbox.network.keeper.router import ENDPOINT_IPV6, Router

SLOTS_MAX = 32_000
DEVICE = "eth0"
_FIRST = ipaddress.IPv4Address("169.254.128.1")
_FIRST_INDEX = 1_000
_WAY_OUT: dict[int, tuple[links.Network, links.Address]] = {
    4: (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_address(ENDPOINT)),
    6: (ipaddress.ip_network("::/0"), ENDPOINT_IPV6),
}
"""By version of IP: everything, and the gateway to it."""


class Slot:
    """number: below SLOTS_MAX, of no other slot of the router. router: None for a slot that leads nowhere. Methods raise
    OSError; a slot of which one has failed must be closed."""

    def __init__(self, number: int, router: Router | None, mtu: int) -> None:
        self.number = number
        self._router = router
        self._index = _FIRST_INDEX + number
        self._address = _FIRST + number
        self._cut = False
        self.namespace = namespaces.new()
        try:
            self._make(mtu)
        except BaseException:
            self.close()
            raise

    def _make(self, mtu: int) -> None:
        if self._router is not None:
            self._router.links.request(
                links.pair(
                    f"s{self.number}",
                    self._index,
                    peer=DEVICE,
                    peer_namespace=self.namespace,
                    peer_index=self._index,
                    mtu=mtu,
                ),
                *(links.route(_only(address), device=self._index) for address in self._addresses()),
            )
        with namespaces.inside(self.namespace), NetlinkSocket(ROUTE) as sock:
            own = links.address(links.LOOPBACK, ipaddress.ip_address(RUNTIME_API))
            sock.request(links.up(links.LOOPBACK), own, *self._way_out())
            if self._router is not None:
                namespaces.set_value("ipv4/tcp_no_metrics_save", "1")

    def _addresses(self) -> list[links.Address]:
        assert self._router is not None
        found: list[links.Address] = [self._address]
        if 6 in self._router.versions:
            # Its last four bytes are those of the IPv4 address: connections of both are marked alike.
            found.append(OWN_IPV6[int(self._address)])
        return found

    def _way_out(self) -> list[Message]:
        if self._router is None:
            return []
        messages = [links.up(self._index)]
        for address in self._addresses():
            every, gateway = _WAY_OUT[address.version]
            messages += [links.address(self._index, address), links.route(every, device=self._index, gateway=gateway)]
        return messages

    def cut(self) -> None:
        """Leave it nothing but its loopback, until it is cleaned."""
        if self._router is None or self._cut:
            return
        self._cut = True
        with namespaces.inside(self.namespace), NetlinkSocket(ROUTE) as sock:
            sock.request(links.down(self._index))

    def clean(self) -> None:
        """Leave nothing of its last owner, of which no process lives any more, to the next."""
        with namespaces.inside(self.namespace):
            if traces.sockets_left():
                with NetlinkSocket(SOCKET_DIAGNOSIS) as diagnosis:
                    traces.end_sockets(diagnosis)
                if traces.sockets_left():
                    raise OSError(errno.EBUSY, "sockets of its last owner do not end")
            if self._router is None:
                return
            if self._cut:
                with NetlinkSocket(ROUTE) as sock:
                    sock.request(*self._way_out())
                self._cut = False
            namespaces.set_value("ipv4/route/flush", "1")
        self._forget_connections()

    def close(self) -> None:
        """The kernel removes the rest of it, and the router's device with it."""
        os.close(self.namespace)
        with contextlib.suppress(OSError):  # They would be forgotten with time.
            self._forget_connections()

    def _forget_connections(self) -> None:
        """The router's, which would take what still comes for them to the next slot of this address."""
        if self._router is not None and self._router.tracks_connections():
            self._router.filters.request(traces.forget_connections(int.from_bytes(self._address.packed, sys.byteorder)))


def _only(address: links.Address) -> links.Network:
    return ipaddress.ip_network(address)
