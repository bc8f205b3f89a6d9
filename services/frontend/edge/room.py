"""Who may stay when the endpoint has as many connections as it may have: those with a key before those without.

A connection is a stranger's until a request on it had a valid signature. Strangers who wait, longest first, go for others: so
nobody without a key can keep anybody out, however many connections they hold.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec
from prometheus_client import Counter

CLOSED = Counter(
    "lambdad_http_closed_for_room_total", "Connections without a valid signature that were closed while they waited, for others"
)
STRANGERS_PART = 0.9
"""Strangers may have so much of all connections; the rest is for those who have a key."""
GRACE_S = 1.0
"""A connection that was just made is about to show a key, perhaps: it goes for others only when there is no room at all."""


class Connection(Protocol):
    """proven: a request of it had a valid signature. address: the client's."""

    proven: bool

    @property
    def address(self) -> str: ...

    def waits_since(self) -> float | None:
        """Since when it has been for the client to go on, by the loop's clock; None while it is not."""

    def give_way(self) -> None:
        """End at once."""


class Room(msgspec.Struct, frozen=True):
    """per_address_max: 0 for none of its own."""

    connections_max: int
    per_address_max: int = 0

    @property
    def strangers_max(self) -> int:
        return max(1, int(self.connections_max * STRANGERS_PART))

    @property
    def looked_at(self) -> int:
        """With no more connections than this there is room for everybody."""
        return min(self.strangers_max, self.per_address_max or self.strangers_max)


def make_room(others: Collection[Connection], address: str, room: Room, now: float) -> bool:
    """Whether a connection that comes from this address may stay beside the others; one of them may have had to go for it."""
    if room.per_address_max:
        same = [other for other in others if other.address == address]
        if len(same) >= room.per_address_max:
            return _close_longest_waiting(same, now)
    if len(others) >= room.connections_max:
        return _close_longest_waiting(others, now)
    if sum(not other.proven for other in others) >= room.strangers_max:
        _close_longest_waiting(others, now - GRACE_S)
    return True


def _close_longest_waiting(connections: Collection[Connection], at: float) -> bool:
    """False when no stranger among them waits, since `at` or longer."""
    longest: tuple[float, Connection] | None = None
    for connection in connections:
        if (
            not connection.proven
            and (since := connection.waits_since()) is not None
            and (longest is None or since < longest[0])
        ):
            longest = since, connection
    if longest is None or longest[0] > at:
        return False
    longest[1].give_way()
    CLOSED.inc()
    return True
