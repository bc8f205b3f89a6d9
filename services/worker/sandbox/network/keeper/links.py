"""Devices, addresses, routes and rules of routing, as messages for a NetlinkSocket(ROUTE)."""

from __future__ import annotations

import ipaddress
import socket
import struct

from services.worker.sandbox.network.keeper.netlink import (
    ACKNOWLEDGE,
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Message,
    NetlinkSocket,
    attribute,
    attributes_of,
    nested,
    number,
    text,
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = 1
"""Its index, in every namespace."""
MAIN, LOCAL = 254, 255
"""Tables of routes."""
UNICAST, PROHIBIT = 1, 8
"""Types of routes: lead somewhere, are refused (EHOSTUNREACH at once)."""

_NEW_LINK, _DELETE_LINK, _GET_LINK, _SET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 17, 18, 19, 20, 22
_NEW_ROUTE, _GET_ROUTE, _NEW_RULE = 24, 26, 32
_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")
_UP, _NO_ARP = 0x1, 0x80
_STATIC = 4
_ON_LINK = 4
_HARDWARE_ADDRESS = bytes.fromhex("020000000001")
"""Of both ends of every pair: without ARP, a frame is sent to the sender's own address, which so is the receiver's."""


def _family(address: Address | Network) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def pair(name: str, index: int, *, peer: str, peer_namespace: int, peer_index: int, mtu: int) -> Message:
    """Two devices that are each other's wire: one here, up, one in the namespace of that descriptor. peer_index: 0 takes any.

    Neither asks who has an address (no ARP, no neighbour discovery): nobody can answer falsely, no table of neighbours fills.
    """
    name_of, hardware, mtu_of, link_info, kind, data, peer_info, namespace = 3, 1, 4, 18, 1, 2, 1, 28
    send_queues, receive_queues = 31, 32
    common = attribute(hardware, _HARDWARE_ADDRESS) + number(mtu_of, mtu) + number(send_queues, 1) + number(receive_queues, 1)
    other = _LINK.pack(0, 0, peer_index, _NO_ARP, _NO_ARP) + text(name_of, peer) + common + number(namespace, peer_namespace)
    body = _LINK.pack(0, 0, index, _UP | _NO_ARP, _UP | _NO_ARP) + text(name_of, name) + common
    body += nested(link_info, text(kind, "veth"), nested(data, nested(peer_info, other)))
    return _NEW_LINK, CREATE | EXCLUSIVE | ACKNOWLEDGE, body


def up(index: int) -> Message:
    return _SET_LINK, ACKNOWLEDGE, _LINK.pack(0, 0, index, _UP, _UP)


def down(index: int) -> Message:
    """Its routes go, and so whoever sends is told at once that the network is unreachable."""
    return _SET_LINK, ACKNOWLEDGE, _LINK.pack(0, 0, index, 0, _UP)


def remove(index: int) -> Message:
    return _DELETE_LINK, ACKNOWLEDGE, _LINK.pack(0, 0, index, 0, 0)


def address(index: int, value: Address, prefix: int | None = None) -> Message:
    bare, local, no_duplicate_detection = 1, 2, 0x02
    length = value.max_prefixlen if prefix is None else prefix
    flags = no_duplicate_detection if value.version == 6 else 0
    body = _ADDRESS.pack(_family(value), length, flags, 0, index)
    return _NEW_ADDRESS, CREATE | REPLACE | ACKNOWLEDGE, body + attribute(bare, value.packed) + attribute(local, value.packed)


def route(
    target: Network, *, device: int | None = None, gateway: Address | None = None, kind: int = UNICAST, table: int = MAIN
) -> Message:
    return _NEW_ROUTE, CREATE | REPLACE | ACKNOWLEDGE, _route(target, device, gateway, kind, table)


def _route(target: Network, device: int | None, gateway: Address | None, kind: int, table: int) -> bytes:
    destination, out, via, table_of = 1, 4, 5, 15
    flags = 0 if gateway is None else _ON_LINK
    body = _ROUTE.pack(_family(target), target.prefixlen, 0, 0, 0, _STATIC, 0, kind, flags)
    if target.prefixlen:
        body += attribute(destination, target.network_address.packed)
    if device is not None:
        body += number(out, device)
    if gateway is not None:
        body += attribute(via, gateway.packed)
    return body + number(table_of, table)


def rule(family: int, priority: int, table: int, arriving_on: str | None = None) -> Message:
    """Look in this table, for what arrives on that device (`lo`: what is sent from here) or for everything."""
    to_table, device, priority_of, table_of = 1, 3, 6, 15
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, to_table, 0)
    body += number(priority_of, priority) + number(table_of, table)
    if arriving_on is not None:
        body += text(device, arriving_on)
    return _NEW_RULE, CREATE | EXCLUSIVE | ACKNOWLEDGE, body


def index_of(sock: NetlinkSocket, name: str) -> int | None:
    """None when there is no such device."""
    return next((index for index, found, _mtu in devices(sock) if found == name), None)


def devices(sock: NetlinkSocket) -> list[tuple[int, str, int]]:
    """Index, name and MTU of each."""
    found = []
    for _kind, body in sock.dump(_GET_LINK, _LINK.pack(0, 0, 0, 0, 0)):
        index = _LINK.unpack_from(body)[2]
        values = attributes_of(body[_LINK.size :])
        found.append((index, values[3].rstrip(b"\0").decode(), struct.unpack("=I", values[4])[0]))
    return found


def addresses(sock: NetlinkSocket) -> list[Address]:
    """Of all devices, of both versions."""
    found: list[Address] = []
    for _kind, body in sock.dump(_GET_ADDRESS, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        bare, local = 1, 2
        values = attributes_of(body[_ADDRESS.size :])
        # The bare one of a tunnel is its other end's; IPv6 has no local one but there.
        packed = values.get(local, values.get(bare))
        if packed is not None:
            found.append(ipaddress.ip_address(packed))
    return found


def routes(sock: NetlinkSocket, family: int) -> list[tuple[Network, int | None, bool]]:
    """Of the main table: where to, by which device, and whether that network is attached to it (no gateway on the way)."""
    found: list[tuple[Network, int | None, bool]] = []
    for _kind, body in sock.dump(_GET_ROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
        got, length, _source, _tos, table, _protocol, _scope, kind, _flags = _ROUTE.unpack_from(body)
        if got != family or table != MAIN or kind != UNICAST:
            continue
        values = attributes_of(body[_ROUTE.size :])
        packed = values.get(1, bytes(4 if family == socket.AF_INET else 16))
        device = struct.unpack("=I", values[4])[0] if 4 in values else None
        attached = 5 not in values and 9 not in values and device is not None
        found.append((ipaddress.ip_network((packed, length)), device, attached))
    return found
