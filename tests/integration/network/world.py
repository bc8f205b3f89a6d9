"""A host and what is outside of it, as network namespaces: nothing that a function sends here leaves this machine.

    sandboxes -- (router of the worker) -- host -- outside

The test's own process, and what it starts, is in the host. It has an address and a way out, loopback, and IPv6 when it forwards.
"""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.worker.sandbox import libc
from services.worker.sandbox.namespaces import NEW_NET
from services.worker.sandbox.network.gateway import dns
from services.worker.sandbox.network.keeper import links, namespaces
from services.worker.sandbox.network.keeper.netlink import (
    ACKNOWLEDGE,
    CREATE,
    EXCLUSIVE,
    ROUTE,
    Message,
    NetlinkSocket,
    attribute,
    nested,
    number,
    text,
)

HOST, OUTSIDE = "192.0.2.1", "192.0.2.2"
HOST_6, OUTSIDE_6 = "2001:db8::1", "2001:db8::2"
INTERNET, PRIVATE, INTERNET_6, PRIVATE_6 = "198.51.100.10", "10.9.8.7", "2001:db8:1::10", "fd12:3456:789a::7"
ENGINE, ENGINE_6 = "203.0.113.5", "2001:db8:2::5"
METADATA, METADATA_6 = "169.254.169.254", "fd00:ec2::254"
OUTSIDE_ADDRESSES = (INTERNET, PRIVATE, ENGINE, METADATA, INTERNET_6, PRIVATE_6, ENGINE_6, METADATA_6)
_DEVICE = 50


@dataclass(frozen=True)
class Places:
    """Where things are in a world, by one version of IP. stranger: an address that is nobody's. uplink: where the first worker's
    router is, seen from the host; gateway: where it is, seen from sandboxes; sandboxes: the network that they are in."""

    version: int
    family: socket.AddressFamily
    everywhere: str
    loopback: str
    host: str
    outside: str
    internet: str
    private: str
    engine: str
    stranger: str
    uplink: str
    gateway: str
    sandboxes: str

    def __str__(self) -> str:
        return f"IPv{self.version}"


IPV4 = Places(
    4, socket.AF_INET, "0.0.0.0", "127.0.0.1", HOST, OUTSIDE, INTERNET, PRIVATE, ENGINE,
    "203.0.113.99", "169.254.101.2", "169.254.100.2", "169.254.128.0/17",
)  # fmt: skip
IPV6 = Places(
    6, socket.AF_INET6, "::", "::1", HOST_6, OUTSIDE_6, INTERNET_6, PRIVATE_6, ENGINE_6,
    "2001:db8:2::99", "fd6c:616d:6264:1::2", "fd6c:616d:6264::1", "fd6c:616d:6264::/64",
)  # fmt: skip


class Server:
    """Counts who came: `seen` has the clients' addresses, in order."""

    def __init__(self, name: str, address: str, port: int) -> None:
        self.seen: list[str] = []
        self.requests: list[tuple[str, str]] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.requests.append((self.headers["host"], self.path))
                body = name.encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            request_queue_size = 2_048

            def server_bind(self) -> None:
                socketserver.TCPServer.server_bind(self)

            def handle_error(self, _request: object, _client: object) -> None:
                pass  # Clients here go away in the middle of things.

            def verify_request(self, _request: object, client: tuple[str, int]) -> bool:
                server.seen.append(client[0])
                return True

        self._server = Threads((address, port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class NameServer:
    """Answers every question for an address with `address`; `asked` has the names."""

    def __init__(self, host: str, address: str, port: int = 53) -> None:
        self.asked: list[str] = []
        self._address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4_096)
            if not query:
                return
            question = dns.question_of(query)
            assert question is not None
            self.asked.append(question.name)
            self._socket.sendto(dns.answer_with(query, question, self._address), client)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, contextlib.suppress(OSError):
            own.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()


class World:
    def __init__(self, host: int, outside: int, stack: ExitStack) -> None:
        self.host = host
        self.outside = outside
        self._stack = stack

    def serve(self, address: str, port: int = 80, *, name: str = "served", where: int | None = None) -> Server:
        """By HTTP, outside by default."""
        with namespaces.inside(self.outside if where is None else where):
            server = Server(name, address, port)
        self._stack.callback(server.close)
        return server

    def resolve(self, host: str, address: str, *, where: int | None = None) -> NameServer:
        """A DNS server there, which knows one address for every name."""
        with namespaces.inside(self.outside if where is None else where):
            server = NameServer(host, address)
            self._stack.callback(self._close, server, self.outside if where is None else where)
        return server

    @staticmethod
    def _close(server: NameServer, where: int) -> None:
        with namespaces.inside(where):
            server.close()

    def devices(self) -> set[str]:
        """The host's."""
        with namespaces.inside(self.host), NetlinkSocket(ROUTE) as sock:
            return {name for _index, name, _mtu in links.devices(sock)}


@contextmanager
def world(*, ipv6: bool = False, forwards: bool = True) -> Iterator[World]:
    """The calling thread is in the host meanwhile."""
    home, host, outside = namespaces.current(), namespaces.new(), namespaces.new()
    with ExitStack() as stack:
        for descriptor in (home, host, outside):
            stack.callback(os.close, descriptor)
        _connect(host, outside, ipv6)
        with namespaces.inside(host):
            namespaces.set_value("ipv4/ip_forward", str(int(forwards)))
            if ipv6:
                namespaces.set_value("ipv6/conf/all/forwarding", "1")
        libc.setns(host, NEW_NET)
        stack.callback(libc.setns, home, NEW_NET)
        yield World(host, outside, stack)


def _connect(host: int, outside: int, ipv6: bool) -> None:
    def ip(text: str) -> links.Address:
        return ipaddress.ip_address(text)

    def every(version: int) -> links.Network:
        return ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0")

    with namespaces.inside(host), NetlinkSocket(ROUTE) as sock:
        pair = links.pair("net0", _DEVICE, peer="net0", peer_namespace=outside, peer_index=_DEVICE, mtu=1_500)
        sock.request(links.up(links.LOOPBACK), pair, links.address(_DEVICE, ip(HOST), 24))
    with namespaces.inside(outside), NetlinkSocket(ROUTE) as sock:
        sock.request(links.up(links.LOOPBACK), links.up(_DEVICE), links.address(_DEVICE, ip(OUTSIDE), 24))
        sock.request(links.address(_DEVICE, ip(OUTSIDE_6), 64))
        sock.request(*(links.address(links.LOOPBACK, ip(text)) for text in OUTSIDE_ADDRESSES))
    with namespaces.inside(host), NetlinkSocket(ROUTE) as sock:
        sock.request(links.route(every(4), device=_DEVICE, gateway=ip(OUTSIDE)))
        # What a metadata service would be to its machine.
        sock.request(links.route(ipaddress.ip_network("169.254.169.254"), device=_DEVICE, gateway=ip(OUTSIDE)))
        if ipv6:
            sock.request(links.address(_DEVICE, ip(HOST_6), 64), links.route(every(6), device=_DEVICE, gateway=ip(OUTSIDE_6)))


@contextmanager
def container(net: World, name: str = "lambdadtest0") -> Iterator[int]:
    """A namespace behind a bridge of the host, as a container's: at 172.30.0.2."""
    inner = namespaces.new()
    network, port = ipaddress.ip_address("172.30.0.1"), 60
    try:
        with namespaces.inside(net.host), NetlinkSocket(ROUTE) as sock:
            sock.request(bridge(name))
            index = links.index_of(sock, name)
            assert index is not None
            pair = links.pair("port0", port, peer="eth0", peer_namespace=inner, peer_index=port, mtu=1_500)
            sock.request(pair, links.up(index), links.address(index, network, 24), ordinary(port, 3), enslaved(port, index))
        with namespaces.inside(inner), NetlinkSocket(ROUTE) as sock:
            sock.request(links.up(links.LOOPBACK), ordinary(port, 4), links.up(port), links.address(port, network + 1, 24))
            sock.request(links.route(ipaddress.ip_network("0.0.0.0/0"), device=port, gateway=network))
        yield inner
    finally:
        os.close(inner)


def bridge(name: str) -> Message:
    name_of, link_info, kind, new_link = 3, 18, 1, 16
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + text(name_of, name) + nested(link_info, text(kind, "bridge"))
    return new_link, CREATE | EXCLUSIVE | ACKNOWLEDGE, body


def ordinary(index: int, last: int) -> Message:
    """With ARP, and a hardware address of its own."""
    hardware, set_link, no_arp = 1, 19, 0x80
    body = struct.pack("=BxHiII", 0, 0, index, 0, no_arp) + attribute(hardware, bytes([2, 0, 0, 0, 0, last]))
    return set_link, ACKNOWLEDGE, body


def enslaved(port: int, master: int) -> Message:
    master_of, set_link = 10, 19
    return set_link, ACKNOWLEDGE, struct.pack("=BxHiII", 0, 0, port, 0, 0) + number(master_of, master)


def datagram(source: str, target: str, port: int, payload: bytes) -> bytes:
    """A packet of IP with a UDP datagram in it, as one without rights could never send it."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    length = 8 + len(payload)
    udp = struct.pack("!HHH", 4_444, port, length)
    if ":" in target:
        pseudo = addresses + struct.pack("!IxxxB", length, _UDP)
        checksum = _checksum(pseudo + udp + bytes(2) + payload) or 0xFFFF
        header = struct.pack("!IHBB", 6 << 28, length, _UDP, 64) + addresses
    else:
        checksum = 0  # There need not be one.
        first = struct.pack("!BBHHHBB", 0x45, 0, 20 + length, 1, 0, 64, _UDP)
        header = first + struct.pack("!H", _checksum(first + addresses)) + addresses
    return header + udp + struct.pack("!H", checksum) + payload


_UDP = 17


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
