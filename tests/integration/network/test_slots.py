"""Slots from one owner to the next, and what is left of all of it at the end: nothing."""

from __future__ import annotations

import asyncio
import os
import socket
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
from tests.integration.network.world import INTERNET, World, world
from tests.integration.sandbox.harness import needs_root, until

pytestmark = needs_root
GET = handler("return get(event)")
ENVIRONMENTS = 60


@pytest.fixture
def net() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture
def router(net: World) -> Iterator[Router]:
    made = Router([9_000], 100, [4])
    uplink = Uplink(made.namespace, [4])
    made.open_up(uplink.gateways, (), ())
    try:
        yield made
    finally:
        uplink.close()
        made.close()


def tracked(router: Router) -> int:
    with namespaces.inside(router.namespace):
        return int(namespaces.value("netfilter/nf_conntrack_count"))


def sockets(slot: Slot) -> list[str]:
    with namespaces.inside(slot.namespace), open("/proc/thread-self/net/tcp") as file:
        return file.readlines()[1:]


def test_the_next_owner_of_a_slot_finds_no_socket_and_no_connection_of_the_last(net: World, router: Router) -> None:
    """One connection closed by us (TIME_WAIT), one with bytes that nobody takes, one datagram; another slot keeps its own."""
    server = net.serve(INTERNET)
    one, other = Slot(0, router, 1_500), Slot(1, router, 1_500)
    with namespaces.inside(other.namespace):
        kept = socket.create_connection((INTERNET, 80), 5)
    with namespaces.inside(one.namespace):
        closed = socket.socket()
        closed.bind(("", 45_000))
        closed.connect((INTERNET, 80))
        closed.shutdown(socket.SHUT_WR)
        while closed.recv(100):
            pass
        closed.close()
        unsent = socket.create_connection((INTERNET, 80), 5)
        unsent.setblocking(False)
        try:
            while True:
                unsent.send(b"GET / HTTP/1.1\r\n" + b"x" * 65_000)
        except BlockingIOError:
            pass
        unsent.close()
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.sendto(b"x", (INTERNET, 9))
        datagram.close()
    assert sockets(one)
    assert tracked(router) >= 3

    one.clean()

    assert sockets(one) == []
    assert tracked(router) == 1
    with namespaces.inside(one.namespace), socket.socket() as again:
        again.bind(("", 45_000))
        again.connect((INTERNET, 80))
    kept.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert kept.recv(100).startswith(b"HTTP/1.1 200")
    kept.close()
    assert len(server.seen) >= 2
    one.close()
    other.close()


def test_a_slot_that_was_cut_has_its_way_out_again_when_it_is_clean(net: World, router: Router) -> None:
    server = net.serve(INTERNET)
    slot = Slot(0, router, 1_500)
    slot.cut()
    with namespaces.inside(slot.namespace), pytest.raises(OSError, match="unreachable"):
        socket.create_connection((INTERNET, 80), 5)
    slot.clean()
    with namespaces.inside(slot.namespace), socket.create_connection((INTERNET, 80), 5) as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert connected.recv(100).startswith(b"HTTP/1.1 200")
    assert len(server.seen) == 1
    slot.close()


async def test_many_environments_leave_nothing_behind(net: World, tmp_path: Path) -> None:
    net.serve(INTERNET)
    before = net.devices()
    async with sandboxes(tmp_path) as harness:
        (device,) = net.devices() - before
        keeper = psutil.Process(harness.pool.network.keeper_pid)
        for _ in range(ENVIRONMENTS):
            async with harness.running(GET) as function:
                assert await function.result(f"http://{INTERNET}/") == "served"
        # Its own, and those of the slots that it has ready.
        await until(lambda: keeper.num_fds() < stock.MIN + OFFERED + ENVIRONMENTS, "slots are used again")
    assert net.devices() == before
    assert not keeper.is_running()
    assert tables() == []
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
