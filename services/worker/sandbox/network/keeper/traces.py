"""What the last owner of a slot left in the kernel, and its removal: sockets that outlive their process, and connections that
are still tracked."""

from __future__ import annotations

import socket
import struct

from services.worker.sandbox.network.keeper.netlink import ACKNOWLEDGE, Message, NetlinkSocket, network_number

_BY_FAMILY, _DESTROY = 20, 21
_ALL_STATES = 0xFFFFFFFF
_ID_BYTES = 48
_TCP = 6
_CONNTRACK, _DELETE = 1, 2


def sockets_left() -> bool:
    """Whether the namespace that is entered has TCP sockets. Quick: most functions leave none."""
    return any(_counts_sockets(f"/proc/thread-self/net/{name}") for name in ("sockstat", "sockstat6"))


def _counts_sockets(path: str) -> bool:
    """`TCP: inuse 0 orphan 0 tw 0 ...`: in use, and waiting (TIME_WAIT), are this namespace's; orphans are everybody's."""
    try:
        with open(path) as file:
            words = next((line.split() for line in file if line.startswith("TCP")), [])
    except FileNotFoundError:
        return False  # A kernel without IPv6.
    counts = dict(zip(words[1::2], words[2::2], strict=False))
    return counts.get("inuse", "0") != "0" or counts.get("tw", "0") != "0"


def end_sockets(diagnosis: NetlinkSocket) -> int:
    """End every TCP socket of the namespace: those that still send, or wait until nothing of them can be on its way
    (TIME_WAIT). How many there were. Raises OSError."""
    ended = 0
    for family in (socket.AF_INET, socket.AF_INET6):
        every = struct.pack("=BBBxI", family, _TCP, 0, _ALL_STATES) + bytes(_ID_BYTES)
        for _kind, answer in diagnosis.dump(_BY_FAMILY, every):
            one = struct.pack("=BBBxI", answer[0], _TCP, 0, _ALL_STATES) + answer[4 : 4 + _ID_BYTES]
            ended += 1
            try:
                diagnosis.request((_DESTROY, ACKNOWLEDGE, one))
            except FileNotFoundError:
                pass  # It ended by itself meanwhile.
    return ended


def forget_connections(mark: int) -> Message:
    """For a NetlinkSocket(NETFILTER): no longer track what has this mark."""
    mark_of, mask_of = 8, 21
    body = struct.pack("!BBH", 0, 0, 0) + network_number(mark_of, mark) + network_number(mask_of, 0xFFFFFFFF)
    return _CONNTRACK << 8 | _DELETE, ACKNOWLEDGE, body
