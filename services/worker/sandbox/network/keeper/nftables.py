"""nftables: tables, chains and rules, as messages for a NetlinkSocket(NETFILTER). All of a table is made in one transaction.

A table belongs to the socket that made it: nobody else can change it, and the kernel removes it when the socket is closed, also
because its process was killed. (Names and numbers: linux/netfilter/nf_tables.h.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.worker.sandbox.network.keeper.netlink import (
    ACKNOWLEDGE,
    APPEND,
    CREATE,
    EXCLUSIVE,
    Message,
    attribute,
    nested,
    network_number,
    text,
)

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
RAW, MANGLE, FILTER, SOURCE_NAT = -300, -150, 0, 100
"""Priorities."""
TCP, UDP = 6, 17

Expression = bytes
Rule = Sequence[Expression]

_SUBSYSTEM = 10
_BEGIN, _END = 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _NEW_SET = 0, 3, 6, 9
_NEW_ELEMENTS, _DELETE_ELEMENTS = 12, 14
_INET = 1
_OWNER = 0x2
_VALUE, _VERDICT_REGISTER, _REGISTER = 1, 0, 1
_WORD_REGISTER = 8
"""The first four bytes of the register above, which further ones of four bytes follow."""
_IPV4, _IPV6 = 2, 10
_IPV4_ADDRESS, _IPV6_ADDRESS, _PORT = 7, 8, 13
"""Types of what is in a set, as `nft` shows them."""


@dataclass(frozen=True)
class Chain:
    """What passes a hook, rule by rule; what no rule decides about passes."""

    name: str
    hook: int
    priority: int
    rules: Sequence[Rule]
    kind: str = "filter"


@dataclass(frozen=True)
class CountedSet:
    """Something counted for each source address; the entry of one that has nothing left goes. forgotten_after_s: of no packet,
    where entries do not go by themselves."""

    name: str
    key_bytes: int
    forgotten_after_s: int | None = None


@dataclass(frozen=True)
class PortSet:
    """Ports of addresses of one version, changed by `elements`: to look one up costs the same however many there are."""

    name: str
    version: int


def table(name: str, chains: Sequence[Chain], sets: Sequence[CountedSet | PortSet] = ()) -> list[Message]:
    """All or nothing."""
    messages = [_message(_NEW_TABLE, CREATE | EXCLUSIVE, text(1, name) + network_number(2, _OWNER))]
    for number, each in enumerate(sets):
        described = _described(each) if isinstance(each, PortSet) else _described_counting(each)
        body = text(1, name) + text(2, each.name) + network_number(10, number + 1) + described
        messages.append(_message(_NEW_SET, CREATE, body))
    for chain in chains:
        hook = nested(4, network_number(1, chain.hook), network_number(2, chain.priority & 0xFFFFFFFF))
        accept = 1
        body = text(1, name) + text(3, chain.name) + hook + network_number(5, accept) + text(7, chain.kind)
        messages.append(_message(_NEW_CHAIN, CREATE, body))
        for rule in chain.rules:
            expressions = nested(4, *(nested(1, each) for each in rule))
            messages.append(_message(_NEW_RULE, CREATE | APPEND, text(1, name) + text(2, chain.name) + expressions))
    return _transaction(messages)


def elements(table_name: str, of: PortSet, ports: Iterable[tuple[bytes, int]], *, gone: bool = False) -> list[Message]:
    """Put ports of addresses into a set, or take out those that are in it; hundreds at a time. All or nothing."""
    listed = (nested(1, nested(1, attribute(_VALUE, packed + struct.pack("!HH", port, 0)))) for packed, port in ports)
    body = text(1, table_name) + text(2, of.name) + nested(3, *listed)
    return _transaction([_message(_DELETE_ELEMENTS if gone else _NEW_ELEMENTS, 0 if gone else CREATE, body)])


def _transaction(messages: Sequence[Message]) -> list[Message]:
    bound = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
    return [(_BEGIN, 0, bound), *messages, (_END, 0, bound)]


def _described_counting(each: CountedSet) -> bytes:
    dynamic, with_timeout = 0x20, 0x10
    flags = dynamic if each.forgotten_after_s is None else dynamic | with_timeout
    key = _IPV4_ADDRESS if each.key_bytes == 4 else _IPV6_ADDRESS
    body = network_number(3, flags) + network_number(4, key) + network_number(5, each.key_bytes)
    if each.forgotten_after_s is not None:
        body += attribute(11, struct.pack("!Q", each.forgotten_after_s * 1000))
    return body


def _described(each: PortSet) -> bytes:
    """What is looked up: address and port one after the other, each filled up to four bytes."""
    address, size = (_IPV4_ADDRESS, 4) if each.version == 4 else (_IPV6_ADDRESS, 16)
    return network_number(3, 0) + network_number(4, address << 6 | _PORT) + network_number(5, size + 4)


def _message(kind: int, flags: int, body: bytes) -> Message:
    return _SUBSYSTEM << 8 | kind, flags | ACKNOWLEDGE, struct.pack("!BBH", _INET, 0, 0) + body


def _expression(name: str, *attributes: bytes) -> Expression:
    return text(1, name) + nested(2, *attributes)


def _equal(value: bytes, unequal: bool = False) -> Expression:
    operation = network_number(2, int(unequal))
    return _expression("cmp", network_number(1, _REGISTER), operation, nested(3, attribute(_VALUE, value)))


def _meta(key: int) -> Expression:
    return _expression("meta", network_number(2, key), network_number(1, _REGISTER))


def arrives_on(device: str, *, otherwise: bool = False) -> Rule:
    return [_meta(6), _equal(device.encode().ljust(16, b"\0"), otherwise)]


def leaves_by(device: str, *, otherwise: bool = False) -> Rule:
    return [_meta(7), _equal(device.encode().ljust(16, b"\0"), otherwise)]


def leaves_by_kind(kind: str) -> Rule:
    """Of device: `bridge`."""
    return [_meta(27), _equal(kind.encode().ljust(16, b"\0"))]


def _of_version(version: int) -> Rule:
    return [_meta(15), _equal(bytes([_IPV4 if version == 4 else _IPV6]))]


def _field(base: int, offset: int, size: int, register: int = _REGISTER) -> Expression:
    return _expression(
        "payload", network_number(1, register), network_number(2, base), network_number(3, offset), network_number(4, size)
    )


def from_address(packed: bytes, *, otherwise: bool = False) -> Rule:
    """otherwise: from any other of the same version."""
    return [*_of_version(4 if len(packed) == 4 else 6), _source(len(packed)), _equal(packed, otherwise)]


def to_address(packed: bytes) -> Rule:
    size = len(packed)
    return [*_of_version(4 if size == 4 else 6), _field(1, 16 if size == 4 else 24, size), _equal(packed)]


def to_one_of(protocol: int, ports: PortSet) -> Rule:
    offset, size = (16, 4) if ports.version == 4 else (24, 16)
    both = [_field(1, offset, size), _field(2, 2, 2, _WORD_REGISTER + size // 4)]
    found = _expression("lookup", text(1, ports.name), network_number(2, _REGISTER))
    return [*_of_version(ports.version), _meta(16), _equal(bytes([protocol])), *both, found]


def _source(size: int) -> Expression:
    return _field(1, 12 if size == 4 else 8, size)


def to_port(protocol: int, port: int) -> Rule:
    return [_meta(16), _equal(bytes([protocol])), _field(2, 2, 2), _equal(struct.pack("!H", port))]


def _state(bits: int) -> Rule:
    mask = nested(4, attribute(_VALUE, struct.pack("=I", bits)))
    none = nested(5, attribute(_VALUE, bytes(4)))
    registers = network_number(1, _REGISTER) + network_number(2, _REGISTER)
    return [
        _expression("ct", network_number(2, 0), network_number(1, _REGISTER)),
        _expression("bitwise", registers, network_number(3, 4), mask, none),
        _equal(bytes(4), unequal=True),
    ]


def is_answer() -> Rule:
    """Of a connection that was let through, or related to one."""
    established, related = 2, 4
    return _state(established | related)


def is_invalid() -> Rule:
    return _state(1)


def is_spoofed() -> Rule:
    """The way back to its source does not lead by the device that it came on."""
    source, arrived, device = 1, 8, 1
    return [_fib(device, source | arrived), _equal(bytes(4))]


def is_no_unicast() -> Rule:
    """For an address of this host itself, a broadcast or a group."""
    destination, kind_of_address, unicast = 2, 3, 1
    return [_fib(kind_of_address, destination), _equal(struct.pack("=I", unicast), unequal=True)]


def _fib(result: int, flags: int) -> Expression:
    return _expression("fib", network_number(3, flags), network_number(2, result), network_number(1, _REGISTER))


def mark_by_source(version: int) -> Rule:
    """The connection's mark is its source address, of IPv6 the last four bytes (traces.py forgets connections by it)."""
    last_four = _field(1, 12 if version == 4 else 20, 4)
    mark = 3
    return [*_of_version(version), last_four, _expression("ct", network_number(2, mark), network_number(4, _REGISTER))]


def more_connections_than(count: int, per_source: CountedSet) -> Rule:
    over = 1
    return _counted(per_source, text(1, "connlimit") + nested(2, network_number(1, count), network_number(2, over)))


def more_packets_than(a_second: int, at_once: int, per_source: CountedSet) -> Rule:
    second, packets, over = 1, 0, 1
    rate = attribute(1, struct.pack("!Q", a_second)) + attribute(2, struct.pack("!Q", second))
    kind = network_number(3, at_once) + network_number(4, packets) + network_number(5, over)
    return _counted(per_source, text(1, "limit") + nested(2, rate, kind))


def _counted(per_source: CountedSet, by: bytes) -> Rule:
    add, update = 0, 1
    how = network_number(3, add if per_source.forgotten_after_s is None else update)
    size = per_source.key_bytes
    counting = _expression("dynset", text(1, per_source.name), how, network_number(4, _REGISTER), nested(7, by))
    return [*_of_version(4 if size == 4 else 6), _source(size), counting]


def accept() -> Rule:
    return [_verdict(1)]


def drop() -> Rule:
    return [_verdict(0)]


def _verdict(code: int) -> Expression:
    verdict = nested(2, nested(2, network_number(1, code)))
    return _expression("immediate", network_number(1, _VERDICT_REGISTER), verdict)


def refuse() -> Rule:
    """And say so to whoever sent it."""
    of_either_version, prohibited = 2, 3
    return [_expression("reject", network_number(1, of_either_version), attribute(2, bytes([prohibited])))]


def masquerade() -> Rule:
    return [_expression("masq")]
