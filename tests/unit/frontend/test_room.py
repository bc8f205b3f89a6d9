"""Who goes when the endpoint is full."""

from __future__ import annotations

from dataclasses import dataclass

from services.frontend.edge.room import Room, make_room

NOW = 1_000.0
ROOM = Room(10)


@dataclass
class Connection:
    since: float | None = NOW - 5
    proven: bool = False
    address: str = "10.0.0.1"
    closed: bool = False

    def waits_since(self) -> float | None:
        return self.since

    def give_way(self) -> None:
        self.closed = True


def comes(others: list[Connection], room: Room = ROOM, address: str = "10.0.0.9") -> bool:
    return make_room(others, address, room, NOW)


def closed(others: list[Connection]) -> list[int]:
    return [at for at, connection in enumerate(others) if connection.closed]


def test_there_is_room_for_everybody_below_the_bounds() -> None:
    others = [Connection() for _ in range(8)]
    assert comes(others)
    assert closed(others) == []


def test_the_stranger_that_waited_longest_goes() -> None:
    others = [Connection(NOW - 5 - at % 7) for at in range(10)]
    assert comes(others)
    assert closed(others) == [6]


def test_who_has_a_key_or_is_served_stays() -> None:
    others = [Connection(NOW - 100, proven=True) for _ in range(9)] + [Connection(None)]
    assert not comes(others)
    assert closed(others) == []


def test_strangers_leave_a_rest_to_those_who_have_a_key() -> None:
    others = [Connection() for _ in range(9)]
    assert comes(others)
    assert len(closed(others)) == 1
    with_key = [Connection() for _ in range(8)] + [Connection(proven=True)]
    assert comes(with_key)
    assert closed(with_key) == []


def test_one_that_was_just_made_is_given_a_moment_unless_there_is_no_room_at_all() -> None:
    fresh = [Connection(NOW - 0.1) for _ in range(9)]
    assert comes(fresh)
    assert closed(fresh) == []
    full = [Connection(NOW - 0.1) for _ in range(10)]
    assert comes(full)
    assert len(closed(full)) == 1


def test_an_address_has_its_share_where_one_is_set() -> None:
    room = Room(100, per_address_max=2)
    others = [Connection(), Connection(NOW - 9), Connection(NOW - 90, address="10.0.0.2")]
    assert comes(others, room, "10.0.0.1")
    assert closed(others) == [1]
    assert comes([Connection(proven=True)] * 5, room, "10.0.0.3")
    assert not comes([Connection(proven=True)] * 2, room, "10.0.0.1")
