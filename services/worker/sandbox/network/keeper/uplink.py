"""The way from the router by the host to everywhere: one pair of devices, and one table of rules on the host.

Seen from the host, functions are one neighbour behind the device `lambdad0` (or the first number that is free). The table lets
nothing from there reach the host itself, by whichever of its addresses, lets no connection begin towards there, and gives what
leaves the host's own address. Tables of others are left alone, but for one place that is there for that: see `Firewall`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence

from services.worker.sandbox.network.keeper import links, namespaces, nftables
from services.worker.sandbox.network.keeper.netlink import NETFILTER, ROUTE, NetlinkSocket
from services.worker.sandbox.network.keeper.plan import OWN_IPV6
from services.worker.sandbox.network.keeper.router import UP, UP_INDEX

PREFIX = "lambdad"
UPLINKS_MAX = 256
MTU_DEFAULT = 1_500
_FIRST_PAIR = ipaddress.IPv4Address("169.254.101.0")
_COMMAND_TIMEOUT_S = 10.0


class UnreachableError(Exception):
    """Functions cannot be led outside from this host. The text says what to change."""


class Uplink:
    """Made in the host's namespace. Raises OSError, UnreachableError."""

    def __init__(self, router_namespace: int, versions: Sequence[int], bridges: bool = False) -> None:
        """bridges: whether what is behind the host's bridges may be reached."""
        if namespaces.value("ipv4/ip_forward") != "1":
            raise UnreachableError("the host does not forward packets: sysctl -w net.ipv4.ip_forward=1")
        self._links = NetlinkSocket(ROUTE)
        self._filters = NetlinkSocket(NETFILTER)
        self._firewall: Firewall | None = None
        self._index: int | None = None
        try:
            self._make(router_namespace, versions, bridges)
        except BaseException:
            self.close()
            raise

    def _make(self, router_namespace: int, versions: Sequence[int], bridges: bool) -> None:
        self.mtu = way_out_mtu(self._links)
        host = namespaces.current()
        try:
            with namespaces.inside(router_namespace), NetlinkSocket(ROUTE) as sock:
                number, self._index = self._make_pair(sock, host, self.mtu)
        finally:
            os.close(host)
        self.device = f"{PREFIX}{number}"
        near, far = _FIRST_PAIR + 4 * number + 1, _FIRST_PAIR + 4 * number + 2
        self.gateways: list[links.Address] = [near]
        routers: list[links.Address] = [far]
        self._links.request(links.up(self._index), links.address(self._index, near, 30))
        with namespaces.inside(router_namespace), NetlinkSocket(ROUTE) as sock:
            sock.request(links.address(UP_INDEX, far, 30))
            if 6 in versions:
                subnet = OWN_IPV6[(number + 1) << 64]
                self.gateways.append(subnet + 1)
                routers.append(subnet + 2)
                sock.request(links.address(UP_INDEX, subnet + 2, 126))
                self._links.request(links.address(self._index, subnet + 1, 126))
        closed = None if bridges else ways_out(self._links)
        self._filters.request(*nftables.table(self.device, _rules(self.device, routers, closed)))
        self._firewall = Firewall(self.device)
        self._firewall.open()

    def _make_pair(self, sock: NetlinkSocket, host: int, mtu: int) -> tuple[int, int]:
        for number in range(UPLINKS_MAX):
            try:
                sock.request(links.pair(UP, UP_INDEX, peer=f"{PREFIX}{number}", peer_namespace=host, peer_index=0, mtu=mtu))
            except FileExistsError:
                continue
            index = links.index_of(self._links, f"{PREFIX}{number}")
            if index is None:
                raise OSError(errno.ENODEV, "the uplink is gone")
            return number, index
        raise UnreachableError(f"there are {UPLINKS_MAX} devices named {PREFIX}... on this host")

    def close(self) -> None:
        """The table goes with its socket."""
        if self._firewall is not None:
            self._firewall.close()
        if self._index is not None:
            try:
                self._links.request(links.remove(self._index))
            except OSError:
                pass  # It went with the router.
        self._links.close()
        self._filters.close()


def _rules(device: str, routers: Sequence[links.Address], closed: Sequence[str] | None) -> list[nftables.Chain]:
    """closed: bridges are, but for these devices; None for none."""
    n = nftables
    from_router, to_router = n.arrives_on(device), n.leaves_by(device)
    bridges: list[nftables.Rule] = []
    if closed is not None:
        open_ones = [part for name in closed for part in n.leaves_by(name, otherwise=True)]
        bridges.append([*from_router, *n.leaves_by_kind("bridge"), *open_ones, *n.refuse()])
    return [
        # Ahead of every translation of addresses: what others publish on the host's addresses is the host's, too.
        n.Chain(
            "arriving",
            n.PREROUTING,
            n.RAW,
            [
                *([*from_router, *n.from_address(each.packed, otherwise=True), *n.drop()] for each in routers),
                [*from_router, *n.is_no_unicast(), *n.drop()],
            ],
        ),
        n.Chain("for-the-host", n.INPUT, n.FILTER, [[*from_router, *n.drop()]]),
        n.Chain("passing", n.FORWARD, n.FILTER, [[*to_router, *n.is_answer(), *n.accept()], [*to_router, *n.drop()], *bridges]),
        n.Chain("of-the-host", n.OUTPUT, n.FILTER, [[*to_router, *n.is_answer(), *n.accept()], [*to_router, *n.drop()]]),
        n.Chain("leaving", n.POSTROUTING, n.SOURCE_NAT, [[*from_router, *n.masquerade()]], kind="nat"),
    ]


def ways_out(sock: NetlinkSocket) -> list[str]:
    """The devices of the host's default routes."""
    names = {index: name for index, name, _mtu in links.devices(sock)}
    both = (socket.AF_INET, socket.AF_INET6)
    found = {device for family in both for network, device, _attached in links.routes(sock, family) if not network.prefixlen}
    return sorted(names[device] for device in found if device in names)


def way_out_mtu(sock: NetlinkSocket) -> int:
    """Of the device of the host's default route."""
    by_index = {index: mtu for index, _name, mtu in links.devices(sock)}
    found = [
        by_index[device]
        for network, device, _attached in links.routes(sock, socket.AF_INET)
        if network.prefixlen == 0 and device in by_index
    ]
    return min(found, default=MTU_DEFAULT)


def forwards_ipv6() -> bool:
    """Whether the host has a way out by IPv6, and forwards."""
    if namespaces.value("ipv6/conf/all/forwarding") != "1":
        return False
    with NetlinkSocket(ROUTE) as sock:
        return any(network.prefixlen == 0 for network, _device, _attached in links.routes(sock, socket.AF_INET6))


def own_addresses() -> list[links.Network]:
    """The host's, each as a network. Its table lets nothing reach them; who is told so by the router does not wait in vain."""
    with NetlinkSocket(ROUTE) as sock:
        return [ipaddress.ip_network(address) for address in links.addresses(sock)]


def attached_networks() -> list[links.Network]:
    """What the host reaches without a gateway."""
    with NetlinkSocket(ROUTE) as sock:
        both = (socket.AF_INET, socket.AF_INET6)
        return [n for family in both for n, _device, attached in links.routes(sock, family) if attached and n.prefixlen]


class Firewall:
    """Where iptables drops what is forwarded (Docker has it so), its chain for others' rules gets one that lets ours pass.

    By the host's own `iptables`, of whichever kind, so that it stays readable for it. Raises UnreachableError where there is no
    such chain."""

    CHAIN = "DOCKER-USER"

    def __init__(self, device: str) -> None:
        self._device = device
        self._added: list[tuple[str, ...]] = []

    def open(self) -> None:
        for program in ("iptables", "ip6tables"):
            if shutil.which(program) is None or not _drops_forwarded(program):
                continue
            if _run(program, "-S", self.CHAIN) is None:
                if program == "ip6tables":
                    continue
                raise UnreachableError(
                    f"the host's firewall drops forwarded packets: let pass what comes from and goes to {PREFIX}+ "
                    f"(iptables -I FORWARD -i {PREFIX}+ -j ACCEPT; iptables -I FORWARD -o {PREFIX}+ -j ACCEPT)"
                )
            self._remove_leftovers(program)
            for direction in ("-i", "-o"):
                rule = (program, direction, self._device, "-j", "ACCEPT")
                if _run(program, "-I", self.CHAIN, *rule[1:]) is not None:
                    self._added.append(rule)

    def _remove_leftovers(self, program: str) -> None:
        """Of workers that were killed: their devices are gone."""
        with NetlinkSocket(ROUTE) as sock:
            present = {name for _index, name, _mtu in links.devices(sock)}
        for line in (_run(program, "-S", self.CHAIN) or "").splitlines():
            words = line.split()
            if len(words) == 6 and words[3].startswith(PREFIX) and (words[3] not in present or words[3] == self._device):
                _run(program, "-D", self.CHAIN, *words[2:])

    def close(self) -> None:
        for program, *rule in self._added:
            _run(program, "-D", self.CHAIN, *rule)
        self._added.clear()


def _drops_forwarded(program: str) -> bool:
    """An operator who has let ours pass by hand needs no help."""
    said = _run(program, "-S", "FORWARD") or ""
    return "-P FORWARD DROP" in said and f"-A FORWARD -i {PREFIX}+ -j ACCEPT" not in said


def _run(program: str, *arguments: str) -> str | None:
    """What it said; None when it failed."""
    try:
        done = subprocess.run(
            [program, "-w", "5", *arguments], capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
