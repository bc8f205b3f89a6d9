"""What a kind of event source has to be, so that everything above it (lanes, batches, filters, retries, bisecting, partial
responses, on-failure records) is written once. A kind is a folder in services/poller/sources with a `Source` and a `Format`.

A source's records come in *lanes*: a Kafka partition, a shard of a stream, a message group, a queue. What a record is, only
its source and its format know: the machinery asks the format for all that it has to know of one.

All methods are called on the event loop that opened the source. Nothing of a source is called before `open` or after `close`
but `check` and `traits`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from shared.domain.errors import LambdadError
from shared.events.records import BatchInfo

R = TypeVar("R")
S = TypeVar("S", contravariant=True)

LaneName = str
"""What a lane is called in events, logs and on-failure records, e.g. "topic-0". Unique within a mapping."""


class SourceError(LambdadError):
    """The source cannot be read as the mapping says; the text is for the mapping's owner."""


class SourceTraits(msgspec.Struct, frozen=True):
    """How a kind behaves. The defaults are a stream's.

    ordered: a lane's records are run in their order, one batch at a time, and settled in it; otherwise batches of a lane run
    beside each other and are settled as they end. redelivers: what failed, or could not run, goes back by `seek` and comes
    again by the source's own rules; otherwise it stays with the machinery, which retries it under the mapping's limits.
    fails_from_first: of a partial response the first failed record counts, and all from it on are tried again; otherwise just
    those that are reported. in_flight_max: batches of a mapping that run at once here; None is one for each lane.
    """

    ordered: bool = True
    redelivers: bool = False
    fails_from_first: bool = False
    in_flight_max: int | None = None

    def __post_init__(self) -> None:
        if not self.ordered and self.in_flight_max is None:
            raise ValueError("batches that are not ordered need a bound on how many run at once")


class LaneKeeper(Protocol):
    """What a source tells the machinery about its lanes. Called by a source between `open` and `close`."""

    async def hold(self) -> None:
        """Lanes are about to move. Nothing new is started from now until `place`; returns when nothing runs any more. A source
        bounds the wait (cancelling it is fine) and may go on with some batches running."""

    def place(self, kept: Collection[LaneName]) -> None:
        """Lanes have their places: once after `open` when this reader may begin, then after each move.

        A lane that is not in `kept` ends at once, if there is one of that name: what runs of it is cancelled and not settled,
        what waits is forgotten, and the source gives both again, here or elsewhere. A lane that left and came back is not kept.
        """


class Source(Protocol[R]):
    """Reads one mapping's records. At-least-once: what was fetched and is not settled when its lane moves, the source is
    closed or the process dies, is fetched again by whoever has the lane then."""

    @property
    def traits(self) -> SourceTraits: ...

    async def check(self) -> None:
        """Raises SourceError when the mapping cannot be read as it says. Called until it returns, before `open`."""

    async def open(self, lanes: LaneKeeper) -> None:
        """Take a place among the readers of the mapping. Raises LambdadError, OSError, TimeoutError or an error of the source's
        client when that fails. Called once; `close` follows in any case."""

    async def close(self) -> None:
        """Make durable what is settled, leave. Bounded in time; raises nothing. No lane runs any more."""

    async def fetch(self, *, wait_s: float) -> Mapping[LaneName, Sequence[R]]:
        """Records to be run, of lanes that are not paused, each lane's in its order; {} when nothing came within wait_s
        seconds. Called by one task, again and again. What it gives belongs to this reader until it is settled, given back, or
        its lane is not kept. Raises as `open` does when the source cannot go on: it is then closed, and another one opened
        after a pause."""

    def settle(self, lane: LaneName, records: Sequence[R]) -> None:
        """These records are done with, for good. Returns at once; made durable soon, and at the latest in `close`.

        Of ordered lanes of a source that does not redeliver: always the lane's oldest that are not settled, so that settling
        the last of them is enough. Of others: any, each by itself. Ignored for lanes that are not this reader's."""

    def seek(self, lane: LaneName, records: Sequence[R]) -> None:
        """These records are not done with: they are to be fetched again. Returns at once.

        Of ordered lanes all that was fetched and is not settled, in its order, while nothing of the lane runs: where a source
        does not redeliver, reading goes back to the first of them. Of a source that redelivers each comes again by the source's
        own rules, e.g. a queue's messages once they are visible again."""

    def pause(self, lane: LaneName) -> None:
        """Fetch nothing more of the lane until `resume`. A lane that moved away and came back is not paused."""

    def resume(self, lane: LaneName) -> None: ...

    async def lag(self) -> Mapping[LaneName, int]:
        """How many records of each of this reader's lanes are not settled, as far as the source can tell. Beside `fetch`,
        every few seconds. Raises SourceError, OSError or TimeoutError when it cannot be told now."""


class FilterView(NamedTuple):
    """A record as filters see it. metadata: JSON values by field, numbers as event_patterns.Number. data: what is in the
    kind's data_field: bytes or text that may hold JSON, or a document that was parsed already; None when there is none."""

    metadata: dict[str, Any]
    data: bytes | str | dict[str, Any] | list[Any] | None


class Format(Protocol[S]):
    """What a kind's records look like: pure, no I/O. Records are those of the same mapping's source."""

    @property
    def item_type(self) -> type[Hashable]:
        """What a function answers as itemIdentifier in a partial batch response: str, or a frozen struct."""

    @property
    def overhead_bytes(self) -> int:
        """Upper bound of an event's JSON around its records."""

    def size_bytes(self, record: S) -> int:
        """Upper bound of what a record adds to the event. Called once for each record that is fetched."""

    def timestamp_ms(self, record: S) -> int:
        """Unix milliseconds that the record's age counts from; -1 for one without an age."""

    def event(self, lane: LaneName, records: Sequence[S]) -> bytes:
        """The event's JSON for records of one lane, byte for byte as AWS builds it."""

    def item_id(self, lane: LaneName, record: S) -> Hashable:
        """The record's itemIdentifier, of item_type."""

    def filter_view(self, record: S) -> FilterView: ...

    def traces(self, records: Sequence[S]) -> Sequence[str]:
        """The trace headers that the records carry: by them a run is known to be one in a chain of invocations. () for a kind
        whose records have none."""

    def batch_info(self, lane: LaneName, records: Sequence[S], payload_bytes: int) -> BatchInfo:
        """What on-failure destinations are told of records that were given up. payload_bytes: of their event."""


class EventSource(NamedTuple):
    """A mapping's source and the format of its records."""

    source: Source[Any]
    format: Format[Any]
