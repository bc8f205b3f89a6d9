"""Netlink: requests to the kernel's network, as many at once as belong together. Standard library only.

Why not a library: a slot is made by two datagrams of a few messages each, for which pyroute2 takes several times as long as the
kernel, and 30 MB a worker; and what its nftables part cannot say (a table that ends with its owner, a count of connections for
each address, all rules in one transaction) is what isolation stands on.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

ROUTE, SOCKET_DIAGNOSIS, NETFILTER = 0, 4, 12
"""Protocols."""
REQUEST, ACKNOWLEDGE, REPLACE, EXCLUSIVE, CREATE, APPEND = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800
DUMP = 0x300
"""Flags of a message."""
_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_SOL_NETLINK, _CAP_ACK = 270, 10
_ANSWER_TIMEOUT_S = 10.0
_RECEIVE_BYTES = 256 * 1024

Message = tuple[int, int, bytes]
"""Type, flags, and what follows the header."""


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """As rtnetlink has it: four bytes of the host's order."""
    return attribute(kind, struct.pack("=I", value))


def network_number(kind: int, value: int) -> bytes:
    """As netfilter has it: four bytes, the greatest first."""
    return attribute(kind, struct.pack("!I", value))


def attributes_of(data: bytes) -> dict[int, bytes]:
    """By kind; of a kind that is there twice, the last."""
    found: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found


class NetlinkSocket:
    """Of the network namespace that it was made in, whichever its thread enters later."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.settimeout(_ANSWER_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def request(self, *messages: Message) -> None:
        """Have all of them done, in their order. Raises OSError, the first one's that failed; the others may be done."""
        self._send(messages)
        waiting = sum(1 for _kind, flags, _body in messages if flags & ACKNOWLEDGE)
        first_error = 0
        for kind, body in self._received():
            if kind != _ERROR:
                continue
            (code,) = struct.unpack_from("=i", body)
            first_error = first_error or -code
            waiting -= 1
            if waiting <= 0:
                break
        if first_error:
            raise OSError(first_error, os.strerror(first_error))

    def dump(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        """Every answer: type, and what follows the header. Raises OSError."""
        self._send([(kind, DUMP, body)])
        found = []
        for answer_kind, answer in self._received():
            if answer_kind == _DONE:
                break
            if answer_kind == _ERROR:
                (code,) = struct.unpack_from("=i", answer)
                raise OSError(-code, os.strerror(-code))
            found.append((answer_kind, answer))
        return found

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _send(self, messages: Sequence[Message]) -> None:
        parts = []
        for kind, flags, body in messages:
            self._sequence += 1
            parts.append(_HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, self._sequence, 0) + body)
            parts.append(bytes(-len(body) % 4))
        self._socket.send(b"".join(parts))

    def _received(self) -> Iterator[tuple[int, bytes]]:
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except TimeoutError:
                raise OSError(errno.ETIMEDOUT, "the kernel does not answer on a netlink socket") from None
            position = 0
            while position + _HEADER.size <= len(data):
                length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, position)
                yield kind, data[position + _HEADER.size : position + length]
                position += (length + 3) & ~3
