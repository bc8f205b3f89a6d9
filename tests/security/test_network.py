"""What a function's network must not lead to, and what must not lead into it. Judged by who would have been reached."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.worker.sandbox.network.addresses import ENDPOINT
from services.worker.sandbox.network.keeper import links, namespaces, nftables
from services.worker.sandbox.network.keeper.netlink import (
    NETFILTER,
    ROUTE,
    NetlinkSocket,
    attribute,
    nested,
    network_number,
    text,
)
from tests.integration.network.functions import handler, sandboxes
from tests.integration.network.world import (
    HOST,
    HOST_6,
    INTERNET,
    METADATA,
    METADATA_6,
    Places,
    World,
    container,
    datagram,
    world,
)
from tests.integration.sandbox.harness import Running, needs_root, processes_of, until
from tests.support import PATIENCE_S

pytestmark = needs_root
CONNECT = handler("return connect(*event)")
REFUSED = ("EHOSTUNREACH", "EACCES")
"""What a function is told at once: by IPv4, and by IPv6."""


def listening(ip: Places) -> str:
    """A function that listens at the port which it gets, everywhere, and answers with its address."""
    return handler(
        f"""
global kept, taken
import threading
kept, taken = socket.create_server(("{ip.everywhere}", event), family=socket.{ip.family.name}), []
def accept():
    while True:
        taken.append(kept.accept())
threading.Thread(target=accept, daemon=True).start()
probe = socket.socket(socket.{ip.family.name}, socket.SOCK_DGRAM)
probe.connect(("{ip.internet}", 1))
return probe.getsockname()[0]
"""
    )


@contextmanager
def in_the_network_of(function: Running) -> Iterator[None]:
    """As root, which no function ever is."""
    pid = processes_of(function.sandbox.uid)[0].pid
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        with namespaces.inside(namespace):
            yield
    finally:
        os.close(namespace)


async def test_no_address_of_the_host_is_reached(net: World, tmp_path: Path) -> None:
    """Its loopback, the address of its way out, that of the router's neighbour, and what it publishes on any of them."""
    everywhere, loopback = net.serve("0.0.0.0", 0, where=net.host), net.serve("127.0.0.1", 0, where=net.host)
    async with sandboxes(tmp_path, endpoint_port=loopback.port) as harness, harness.running(CONNECT) as function:
        found = [
            await function.result([address, port])
            for address in ("127.0.0.1", "127.0.0.53", HOST, "169.254.101.1", "169.254.101.2", "0.0.0.0")
            for port in (everywhere.port, 22)
        ]
        # At once, or a function that tries one would wait for nothing.
        assert set(found) <= {"ECONNREFUSED", "EHOSTUNREACH"}, found
        assert await function.result([ENDPOINT, 22]) == "EHOSTUNREACH"
        assert await function.result([ENDPOINT, everywhere.port]) == "EHOSTUNREACH"
    assert everywhere.seen == loopback.seen == []


SPELLINGS = handler(
    """
found = {}
for address in event["addresses"]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as tried:
            tried.settimeout(0.5)
            try:
                if event["source"]:
                    tried.bind((event["source"], 0))
                tried.connect((address, event["port"]))
                tried.send(b"here")
                found[address] = tried.recv(100).decode() if kind == socket.SOCK_DGRAM else "connected"
            except OSError as error:
                found.setdefault(address, errno.errorcode.get(error.errno, str(error)))
return found
"""
)


async def test_no_spelling_of_an_address_leads_to_the_host(tmp_path: Path) -> None:
    """Mapped and link-local ones, broadcasts, groups, what a bridge of the host has; from sources that are on loopback, too."""
    with world(ipv6=True) as net, container(net), contextlib.ExitStack() as stack:
        tcp = net.serve("::", 0, where=net.host)
        datagrams = []
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            receiver = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            if family == socket.AF_INET6:
                receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            receiver.setblocking(False)
            receiver.bind((address, tcp.port))
            datagrams.append(receiver)
        addresses = [
            "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0", HOST, f"::ffff:{HOST}", HOST_6,
            "172.30.0.1", "169.254.101.1", "255.255.255.255", "192.0.2.255", "172.30.0.255", "224.0.0.1", "ff02::1",
            "ff05::2", "fe80::1", "fd6c:616d:6264:1::1", "64:ff9b::a9fe:a9fe", "::7f00:1",
        ]  # fmt: skip
        async with sandboxes(tmp_path, bridges=True) as harness, harness.running(SPELLINGS) as function:
            for source in (None, "127.0.0.1", "169.254.100.1"):
                event = {"addresses": addresses, "port": tcp.port, "source": source}
                found = await function.result(event)
                assert "connected" not in found.values(), found
        assert tcp.seen == []
        for receiver in datagrams:
            with pytest.raises(BlockingIOError):
                receiver.recv(100)


async def test_ports_that_the_host_publishes_for_others_are_the_hosts(net: World, tmp_path: Path) -> None:
    """Translated to somebody else's address, as containers' published ports are: the host's own address is never a target."""
    inner = net.serve("127.0.0.2", 0, where=net.host)
    with publish(inner.port):
        async with sandboxes(tmp_path) as harness, harness.running(CONNECT) as function:
            assert await function.result([HOST, 8_080, 1]) == "EHOSTUNREACH"
    assert inner.seen == []


@contextmanager
def publish(port: int) -> Iterator[None]:
    """8080 of every address of the host is that port of 127.0.0.2."""
    namespaces.set_value("ipv4/conf/all/route_localnet", "1")
    with NetlinkSocket(NETFILTER) as sock:
        rule = [*nftables.to_port(nftables.TCP, 8_080), *translated(socket.inet_aton("127.0.0.2"), port)]
        chain = nftables.Chain("published", nftables.PREROUTING, -100, [rule], kind="nat")
        sock.request(*nftables.table("published", [chain]))
        yield


def translated(address: bytes, port: int) -> nftables.Rule:
    """To another target (NFT_NAT_DNAT of IPv4), which the product never does."""

    def register(number: int, value: bytes) -> bytes:
        return expression("immediate", network_number(1, number), nested(2, attribute(1, value)))

    registers = network_number(3, 1) + network_number(5, 2)
    nat = expression("nat", network_number(1, 1), network_number(2, 2), registers)
    return [register(1, address), register(2, port.to_bytes(2, "big")), nat]


def expression(name: str, *attributes: bytes) -> bytes:
    return text(1, name) + nested(2, *attributes)


async def test_engines_on_other_hosts_are_refused_by_port(net_of: World, ip: Places, tmp_path: Path) -> None:
    engine, other = net_of.serve(ip.engine, 6379), net_of.serve(ip.engine, 80)
    async with sandboxes(tmp_path) as harness, harness.running(CONNECT) as function:

        async def comes_to(*found: str) -> None:
            """The keeper is told, and does it a moment later."""
            async with asyncio.timeout(PATIENCE_S):
                while await function.result([ip.engine, 6379]) not in found:
                    pass

        harness.pool.network.refuse([(ip.engine, 6379)])
        await comes_to(*REFUSED)
        assert await function.result([ip.engine, 80]) == "connected"
        await until(lambda: len(other.seen) == 1, "all that came before is counted")
        before = len(engine.seen)
        assert await function.result([ip.engine, 6379]) in REFUSED
        assert len(engine.seen) == before
        harness.pool.network.refuse([])
        await comes_to("connected")
    await until(lambda: (len(engine.seen), len(other.seen)) == (before + 1, 1), "all are counted")


async def test_containers_on_the_host_are_reached_only_where_the_settings_say_so(net: World, tmp_path: Path) -> None:
    """An engine that a container publishes on the host's loopback has an address of its own behind a bridge."""
    with container(net) as inner:
        engine, outside = net.serve("172.30.0.2", 6379, where=inner), net.serve(INTERNET)
        assert answers("172.30.0.2", 6379)
        for bridges, found in ((False, "EHOSTUNREACH"), (True, "connected")):
            async with sandboxes(tmp_path, bridges=bridges) as harness, harness.running(CONNECT) as function:
                assert await function.result(["172.30.0.2", 6379]) == found
                assert await function.result([INTERNET, 80]) == "connected"
        await until(lambda: (len(engine.seen), len(outside.seen)) == (2, 2), "all are counted")


async def test_metadata_and_link_local_addresses_are_refused(tmp_path: Path) -> None:
    with world(ipv6=True) as net:
        servers = [net.serve(METADATA), net.serve(METADATA_6)]
        async with sandboxes(tmp_path) as harness, harness.running(CONNECT) as function:
            for address in (
                METADATA,
                METADATA_6,
                "169.254.170.2",
                "100.100.100.200",
                "168.63.129.16",
                "fe80::1",
                "::ffff:169.254.169.254",
            ):
                assert await function.result([address, 80]) in ("EHOSTUNREACH", "EINVAL", "EACCES", "ENETUNREACH"), address
            assert await function.result([HOST_6, 80, 1]) in ("ETIMEDOUT", "EHOSTUNREACH")
        assert [server.seen for server in servers] == [[], []]


async def test_no_function_reaches_another(net_of: World, ip: Places, tmp_path: Path) -> None:
    async with sandboxes(tmp_path) as harness, harness.running(listening(ip)) as one, harness.running(CONNECT) as other:
        address = await one.result(8_000)
        assert ipaddress.ip_address(address) in ipaddress.ip_network(ip.sandboxes)
        with in_the_network_of(one):
            assert answers(address, 8_000)
        assert await other.result([address, 8_000]) in REFUSED
        with in_the_network_of(other):
            assert not answers(address, 8_000)


async def test_no_connection_leads_into_a_sandbox(net_of: World, ip: Places, tmp_path: Path) -> None:
    """Not from the host, not from outside, even by a route to its very address."""
    async with sandboxes(tmp_path) as harness, harness.running(listening(ip)) as function:
        address = await function.result(8_000)
        with in_the_network_of(function):
            assert answers(ip.loopback, 8_000)
        (device,) = {name for name in net_of.devices() if name.startswith("lambdad")}
        behind, router = ipaddress.ip_network(ip.sandboxes), ipaddress.ip_address(ip.uplink)
        with NetlinkSocket(ROUTE) as sock:
            sock.request(links.route(behind, device=links.index_of(sock, device), gateway=router))
        for target in (address, ip.uplink):
            assert not answers(target, 8_000)
            assert not answers(target, 53)
        with namespaces.inside(net_of.outside):
            with NetlinkSocket(ROUTE) as sock:
                for network in (behind, ipaddress.ip_network(router), ipaddress.ip_network(ip.gateway)):
                    way = links.route(network, device=links.index_of(sock, "net0"), gateway=ipaddress.ip_address(ip.host))
                    sock.request(way)
            for target in (address, ip.uplink, ip.gateway):
                assert not answers(target, 8_000)


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 0.5).close()
    except OSError:
        return False
    return True


async def test_packets_with_a_source_that_is_not_the_sandboxs_go_nowhere(net_of: World, ip: Places, tmp_path: Path) -> None:
    with namespaces.inside(net_of.outside):
        receiver = socket.socket(ip.family, socket.SOCK_DGRAM)
        receiver.bind((ip.internet, 5_000))
        receiver.settimeout(5)
    listen = listening(ip)
    async with sandboxes(tmp_path) as harness, harness.running(listen) as one, harness.running(listen) as other:
        own, neighbour = await one.result(8_000), await other.result(8_000)
        with in_the_network_of(one), socket.socket(ip.family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for source in (neighbour, ip.stranger, ip.host, ip.loopback, own):
                raw.sendto(datagram(source, ip.internet, 5_000, source.encode()), (ip.internet, 0))
        assert receiver.recv(100) == own.encode()  # The last: what came before it would be here.
    receiver.close()


async def test_a_function_changes_nothing_of_its_network(net: World, tmp_path: Path) -> None:
    source = handler(
        """
import fcntl, struct
def attempt(function, *arguments):
    try:
        function(*arguments)
        return "allowed"
    except OSError as error:
        return errno.errorcode[error.errno]
plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
change = struct.pack("16sHH4s16x", b"eth0", socket.AF_INET, 0, socket.inet_aton("10.0.0.1"))
index = socket.if_nametoindex("eth0") if hasattr(socket, "if_nametoindex") else 0
return {
    "address": attempt(fcntl.ioctl, plain, 0x8916, change),
    "flags": attempt(fcntl.ioctl, plain, 0x8914, struct.pack("16sH22x", b"eth0", 0)),
    "setting": attempt(open, "/proc/sys/net/ipv4/ip_default_ttl", "w"),
    "raw": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "ping": attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "frames": attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0),
    "netlink": attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "transparent": attempt(plain.setsockopt, socket.SOL_IP, 19, 1),
    "mark": attempt(plain.setsockopt, socket.SOL_SOCKET, 36, 1),
    "low port": attempt(plain.bind, ("0.0.0.0", 53)),
}
"""
    )
    async with sandboxes(tmp_path) as harness, harness.running(source) as function:
        found = await function.result()
    assert "allowed" not in found.values(), found


async def test_a_flood_of_one_function_leaves_others_their_connections(net: World, tmp_path: Path) -> None:
    """UDP to ever new places is tracked as well: it counts as connections."""
    server = net.serve(INTERNET)
    flood = handler(
        f"""
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1_024, 6_000):
    sender.sendto(b"x", ("{INTERNET}", port))
"""
    )
    async with sandboxes(tmp_path, connections_max=200) as harness, harness.running(flood) as one:
        await one.result()
        async with harness.running(CONNECT) as other:
            assert await other.result([INTERNET, 80]) == "connected"
        await one.result()
        tracked = int(namespaces.value("netfilter/nf_conntrack_count"))
        assert 200 <= tracked <= 300, "the host tracks all that the function sent"
    await until(lambda: len(server.seen) == 1, "it is counted")
