"""Slots from one owner to the next, and what is left of all of it at the end: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.worker.sandbox.network.keeper import namespaces, stock
from services.worker.sandbox.network.keeper.netlink import NETFILTER, NetlinkSocket, attributes_of
from services.worker.sandbox.network.keeper.process import OFFERED
from services.worker.sandbox.network.keeper.router import Router
from services.worker.sandbox.network.keeper.slots import Slot
from services.worker.sandbox.network.keeper.uplink import Uplink
from tests.integration.network.functions import handler, sandboxes
from tests.integration.network.world import INTERNET, INTERNET_6, Places, World, world
from tests.integration.sandbox.harness import needs_root, until

pytestmark = needs_root
GET = handler("return get(event)")
ENVIRONMENTS = int(os.environ.get("ENVIRONMENTS", "60"))
"""As many as the suite has time for; `make faults` has 1,000."""


@pytest.fixture
def router(net_of: World, ip: Places) -> Iterator[Router]:
    versions = [4, 6] if ip.version == 6 else [4]
    made = Router([9_000], 100, versions)
    uplink = Uplink(made.namespace, versions)
    made.open_up(uplink.gateways, (), ())
    try:
        yield made
    finally:
        uplink.close()
        made.close()


def tracked(router: Router) -> int:
    with namespaces.inside(router.namespace):
        return int(namespaces.value("netfilter/nf_conntrack_count"))


def sockets(slot: Slot, ip: Places) -> list[str]:
    with namespaces.inside(slot.namespace), open(f"/proc/thread-self/net/tcp{'6' * (ip.version == 6)}") as file:
        return file.readlines()[1:]


def test_the_next_owner_of_a_slot_finds_no_socket_and_no_connection_of_the_last(
    net_of: World, ip: Places, router: Router
) -> None:
    """One connection closed by us (TIME_WAIT), one with bytes that nobody takes, one datagram; another slot keeps its own."""
    server = net_of.serve(ip.internet)
    one, other = Slot(0, router, 1_500), Slot(1, router, 1_500)
    with namespaces.inside(other.namespace):
        kept = socket.create_connection((ip.internet, 80), 5)
    with namespaces.inside(one.namespace):
        closed = socket.socket(ip.family)
        closed.bind(("", 45_000))
        closed.connect((ip.internet, 80))
        closed.shutdown(socket.SHUT_WR)
        while closed.recv(100):
            pass
        closed.close()
        unsent = socket.create_connection((ip.internet, 80), 5)
        unsent.setblocking(False)
        try:
            while True:
                unsent.send(b"GET / HTTP/1.1\r\n" + b"x" * 65_000)
        except BlockingIOError:
            pass
        unsent.close()
        datagram = socket.socket(ip.family, socket.SOCK_DGRAM)
        datagram.sendto(b"x", (ip.internet, 9))
        datagram.close()
    assert sockets(one, ip)
    assert tracked(router) >= 3

    one.clean()

    assert sockets(one, ip) == []
    assert tracked(router) == 1
    with namespaces.inside(one.namespace), socket.socket(ip.family) as again:
        again.bind(("", 45_000))
        again.connect((ip.internet, 80))
    kept.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert kept.recv(100).startswith(b"HTTP/1.1 200")
    kept.close()
    assert len(server.seen) >= 2
    one.close()
    other.close()


def test_a_slot_that_was_cut_has_its_way_out_again_when_it_is_clean(net_of: World, ip: Places, router: Router) -> None:
    server = net_of.serve(ip.internet)
    slot = Slot(0, router, 1_500)
    slot.cut()
    with namespaces.inside(slot.namespace), pytest.raises(OSError, match="unreachable"):
        socket.create_connection((ip.internet, 80), 5)
    slot.clean()
    with namespaces.inside(slot.namespace), socket.create_connection((ip.internet, 80), 5) as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert connected.recv(100).startswith(b"HTTP/1.1 200")
    assert len(server.seen) == 1
    slot.close()


class Left:
    """What a worker, its keeper and its sandboxes make for networks, counted in the host and in all that started here."""

    def __init__(self, net: World) -> None:
        self._net = net
        self._seen: dict[psutil.Process, None] = {}

    def namespaces(self) -> set[str]:
        """Those that a process here is in or holds; nothing here mounts one."""
        own = psutil.Process()
        self._seen |= dict.fromkeys(own.children(recursive=True))
        return {name for process in (own, *filter(psutil.Process.is_running, self._seen)) for name in held(process)}

    def take(self) -> dict[str, int]:
        return {
            "namespaces": len(self.namespaces()),
            "devices": len(self._net.devices()),
            "tables": len(tables()),
            "connections": connections(),
        }


def held(process: psutil.Process) -> Iterator[str]:
    """Network namespaces, by their names; of one that ends meanwhile, none."""
    links = [f"/proc/{process.pid}/ns/net"]
    with contextlib.suppress(OSError):
        links += [entry.path for entry in os.scandir(f"/proc/{process.pid}/fd")]
    for link in links:
        with contextlib.suppress(OSError):
            if (name := os.readlink(link)).startswith("net:"):
                yield name


def connections() -> int:
    """That are tracked in the namespace of the thread and have not expired."""
    get_connections = 1 << 8 | 1
    with NetlinkSocket(NETFILTER) as sock:
        return len(sock.dump(get_connections, bytes(4)))


def of_the_router(keeper: psutil.Process) -> int:
    """Connections that are tracked in what a keeper holds: its router, and slots."""
    total = 0
    for entry in os.scandir(f"/proc/{keeper.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # A slot that is closed takes what is tracked in it along.
            if os.readlink(entry.path).startswith("net:"):
                namespace = os.open(entry.path, os.O_RDONLY)
                with namespaces.inside(namespace):
                    total += connections()
                os.close(namespace)
    return total


@pytest.mark.timeout(120 + ENVIRONMENTS)
async def test_many_environments_leave_nothing_behind(tmp_path: Path) -> None:
    """By both versions of IP in turn."""
    with world(ipv6=True) as net:
        for address in (INTERNET, INTERNET_6):
            net.serve(address)
        left = Left(net)
        before, devices = left.take(), net.devices()
        async with sandboxes(tmp_path) as harness:
            (device,) = net.devices() - devices
            keeper = psutil.Process(harness.pool.network.keeper_pid)
            for state in ("time_wait", "close", "close_wait", "fin_wait", "last_ack"):
                # What has ended is remembered for two minutes, as on every host: not here.
                namespaces.set_value(f"netfilter/nf_conntrack_tcp_timeout_{state}", "1")
            most = 0
            for number in range(ENVIRONMENTS):
                async with harness.running(GET) as function:
                    assert await function.result(f"http://{(INTERNET, f'[{INTERNET_6}]')[number % 2]}/") == "served"
                if number % 20 == 0:
                    most = max(most, len(left.namespaces()))
            # Its own, and those of the slots that it has ready.
            await until(lambda: len(set(held(keeper))) < stock.MIN + OFFERED + 20, "slots are used again")
            await until(lambda: of_the_router(keeper) == 0, "nothing is tracked for an owner that is gone")
            beside = left.take()
        await until(lambda: left.take() == before, f"nothing is more than before: {before}, then {beside}")
        sys.stderr.write(f"{ENVIRONMENTS} environments: {before}, at most {most} namespaces, {beside}, {left.take()}\n")
        assert net.devices() == devices
        assert not keeper.is_running()
        assert device == "lambdad0"


def tables() -> list[str]:
    """Of nftables, in the namespace of the thread."""
    get_table = 10 << 8 | 1
    with NetlinkSocket(NETFILTER) as sock:
        return [attributes_of(body[4:])[1].rstrip(b"\0").decode() for _kind, body in sock.dump(get_table, bytes(4))]


async def test_when_the_keeper_is_killed_nothing_stays_and_another_begins(net: World, tmp_path: Path) -> None:
    net.serve(INTERNET)
    lost: list[bool] = []
    async with sandboxes(tmp_path) as harness, harness.running(GET) as old:
        harness.pool.on_network_lost = lambda: lost.append(True)
        assert await old.result(f"http://{INTERNET}/") == "served"
        killed = harness.pool.network.keeper_pid
        os.kill(killed, 9)
        await until(lambda: lost, "the worker notices")
        assert old.sandbox.broken
        await until(lambda: harness.pool.network.keeper_pid not in (0, killed), "another keeper")
        async with harness.running(GET) as new:
            assert await new.result(f"http://{INTERNET}/") == "served"
        assert tables() == [next(name for name in net.devices() if name.startswith("lambdad"))]


async def test_a_gateway_that_is_killed_is_replaced(net: World, tmp_path: Path) -> None:
    frontend = net.serve("127.0.0.1", 0, where=net.host)
    url = "http://169.254.100.2:9000/"
    async with sandboxes(tmp_path, endpoint_port=frontend.port) as harness, harness.running(GET) as function:
        assert await function.result(url) == "served"
        keeper = psutil.Process(harness.pool.network.keeper_pid)
        (gateway,) = keeper.children()
        assert gateway.uids().real == 65_534
        gateway.kill()
        await until(lambda: [child.pid for child in keeper.children() if child.pid != gateway.pid], "another gateway")
        assert await function.result(url) == "served"


@pytest.mark.needs("iptables")
async def test_a_firewall_that_drops_what_is_forwarded_lets_functions_pass_by_the_chain_that_it_has_for_that(
    net: World, tmp_path: Path
) -> None:
    net.serve(INTERNET)
    for arguments in ("-N DOCKER-USER", "-P FORWARD DROP", "-A FORWARD -j DOCKER-USER"):
        process = await asyncio.create_subprocess_exec("iptables", *arguments.split())
        assert await process.wait() == 0
    async with sandboxes(tmp_path) as harness, harness.running(GET) as function:
        assert await function.result(f"http://{INTERNET}/") == "served"
    process = await asyncio.create_subprocess_exec("iptables", "-S", "DOCKER-USER", stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0].decode().splitlines() == ["-N DOCKER-USER"]


@pytest.mark.needs("iptables")
async def test_a_firewall_without_such_a_chain_is_told_of(net: World, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec("iptables", "-P", "FORWARD", "DROP")
    assert await process.wait() == 0
    async with sandboxes(tmp_path) as harness:
        assert "iptables -I FORWARD -i lambdad+" in str(harness.pool.network.weaker)
