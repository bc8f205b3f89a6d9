"""Which records of a partition are settled, and how far its offset may be committed. Pure: no I/O.

Two trackers with one face: `OffsetTracker` for records that complete in any order, `OrderedTracker` for those that are
settled in their order.

Records complete out of order; only the contiguous settled prefix may be committed. What is settled beyond it is written
beside the committed offset (the commit's metadata), so that whoever takes the partition over does not run it again.
"""

from __future__ import annotations

import base64
import bisect
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol, TypeVar

METADATA_BYTES_MAX = 4_000
"""Kafka's default offset.metadata.max.bytes is 4,096."""
SETTLED_LISTED_MAX = 1_024
"""So many offsets that are settled, and three for each that is not, may be listed before they are put together: a record that
takes a quarter of an hour has millions settled behind it."""


_offset_of = attrgetter("offset")


class HasOffset(Protocol):
    @property
    def offset(self) -> int: ...


R = TypeVar("R", bound=HasOffset)


class Tracker(Protocol):
    """What a group's member needs to know of one partition. position: may be committed, everything below is settled."""

    position: int

    @property
    def unsettled(self) -> int:
        """How many records were begun and are not settled (for ordered ones: zero or not)."""

    def begin_all(self, records: Sequence[R]) -> list[R]: ...

    def settle(self, offset: int) -> None: ...

    def take_commit(self) -> tuple[int, str] | None: ...

    def commit_failed(self) -> None: ...


class OrderedTracker:
    """A partition whose records are settled in order: settling an offset settles all before it."""

    def __init__(self, position: int, settled: tuple[tuple[int, int], ...] = ()) -> None:
        self.position = position
        self._next = position
        self._dirty = False

    @property
    def unsettled(self) -> int:
        return self._next - self.position

    def begin_all(self, records: Sequence[R]) -> list[R]:
        """The records that were not begun before."""
        fresh = records[bisect.bisect_left(records, self._next, key=_offset_of) :]
        if fresh:
            self._next = fresh[-1].offset + 1
        return list(fresh)

    def settle(self, offset: int) -> None:
        if self.position <= offset < self._next:
            self.position = offset + 1
            self._dirty = True

    def rewind(self, offset: int) -> None:
        """Records from this offset on, none of them settled, are to be begun again."""
        self._next = max(self.position, offset)

    def take_commit(self) -> tuple[int, str] | None:
        """(offset, metadata) to commit, None when nothing changed since the last time."""
        if not self._dirty:
            return None
        self._dirty = False
        return self.position, ""

    def commit_failed(self) -> None:
        self._dirty = True


class OffsetTracker:
    """The offsets of one partition between being fetched and being committed.

    `position` is the offset that may be committed: everything below it is settled. What it takes grows with the records that
    are not settled, and not with those that are.
    """

    def __init__(self, position: int, settled: tuple[tuple[int, int], ...] = ()) -> None:
        """settled: half-open ranges beyond position that an earlier owner settled."""
        self.position = position
        self._pending: deque[int] = deque()
        self._open: set[int] = set()
        self._known_settled = deque((first, end) for first, end in settled if end > position)
        self._dirty = False

    @property
    def unsettled(self) -> int:
        """How many records were begun and are not settled."""
        return len(self._open)

    def begin_all(self, records: Sequence[R]) -> list[R]:
        """The records that are to be run."""
        begin = self.begin
        wanted = [record for record in records if begin(record.offset)]
        if len(self._pending) > 4 * len(self._open) + SETTLED_LISTED_MAX:
            self._put_together()
        return wanted

    def begin(self, offset: int) -> bool:
        """A record was fetched. False when it is not to be run: settled before, or running already. Offsets may have gaps."""
        if offset < self.position or (self._pending and offset <= self._pending[-1]):
            return False
        self._pending.append(offset)
        while self._known_settled and self._known_settled[0][1] <= offset:
            self._known_settled.popleft()
        if self._known_settled and self._known_settled[0][0] <= offset:
            self._advance()
            self._dirty = True
            return False
        self._open.add(offset)
        return True

    def settle(self, offset: int) -> None:
        """A record that `begin` said True for is done with. Settling one twice, or one given away, changes nothing."""
        if offset in self._open:
            self._open.discard(offset)
            self._dirty = True
            self._advance()

    def skip_to(self, offset: int) -> None:
        """Another owner committed further than this one knew: what is below is settled."""
        if offset <= self.position:
            return
        self.position = offset
        while self._pending and self._pending[0] < offset:
            self._open.discard(self._pending.popleft())
        self._advance()

    def take_commit(self) -> tuple[int, str] | None:
        """(offset, metadata) to commit, None when nothing changed since the last time."""
        if not self._dirty:
            return None
        self._dirty = False
        return self.position, encode_settled(self.position, self.settled_ranges())

    def commit_failed(self) -> None:
        """What `take_commit` gave did not reach Kafka: give it again."""
        self._dirty = True

    def settled_ranges(self) -> tuple[tuple[int, int], ...]:
        """Half-open ranges of settled offsets beyond `position`, in order; gaps in the log count as settled."""
        ranges = []
        floor = end = self.position
        if len(self._open) < len(self._pending):
            for offset in self._pending:
                if offset not in self._open:
                    end = offset + 1
                    continue
                if floor < end:
                    ranges.append((floor, end))
                floor = end = offset + 1
            if floor < end:
                ranges.append((floor, end))
        if self._pending:
            floor = self._pending[-1] + 1
        return (*ranges, *((max(first, floor), end) for first, end in self._known_settled if end > floor))

    def _put_together(self) -> None:
        """List of settled offsets that follow each other only the last: where the position goes when those before it are."""
        listed: deque[int] = deque()
        for offset in self._pending:
            if listed and listed[-1] not in self._open and offset not in self._open:
                listed.pop()
            listed.append(offset)
        self._pending = listed

    def _advance(self) -> None:
        pending, unsettled = self._pending, self._open
        while pending and pending[0] not in unsettled:
            self.position = pending.popleft() + 1


def encode_settled(position: int, ranges: tuple[tuple[int, int], ...]) -> str:
    """Ranges as text for a commit's metadata: varints of alternating gaps and lengths from `position`, in base64.

    What does not fit into METADATA_BYTES_MAX is left out: it may then run again, which at-least-once allows.
    """
    data = bytearray()
    at = position
    for first, end in ranges:
        piece = _varint(first - at) + _varint(end - first)
        if (len(data) + len(piece)) * 4 // 3 + 8 > METADATA_BYTES_MAX:
            break
        data += piece
        at = end
    return "1:" + base64.b64encode(bytes(data)).decode() if data else ""


def decode_settled(position: int, metadata: str) -> tuple[tuple[int, int], ...]:
    """The inverse of `encode_settled`; () for text that it did not write."""
    if not metadata.startswith("1:"):
        return ()
    try:
        data = base64.b64decode(metadata[2:], validate=True)
    except ValueError:
        return ()
    numbers: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
        else:
            numbers.append(value)
            value = shift = 0
    ranges = []
    at = position
    for gap, length in zip(numbers[::2], numbers[1::2], strict=False):
        ranges.append((at + gap, at + gap + length))
        at += gap + length
    return tuple(ranges)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
