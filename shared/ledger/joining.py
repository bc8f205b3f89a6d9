"""Entries of many records put together: of each event what is newest, so that most need one row, written once. Pure: no I/O.

An end beats what was true before it, whenever that is told; of two ends, or two that are none, the later one stays. The same
rule is in the statement that merges into rows that are there (store.py), so the order in which entries come does not matter.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from shared.ledger.records import Batch, EventEntry, Status, StepEntry

_FIRST_END = Status.SUCCEEDED
INT_MAX = 2**31 - 1
SMALL_MAX = 2**15 - 1


class Joined:
    """What is to be written. events: the entry to keep and its function's ARN, by event id."""

    __slots__ = ("events", "steps", "told")

    def __init__(self) -> None:
        self.events: dict[str, tuple[EventEntry, str]] = {}
        self.steps: list[StepEntry] = []
        self.told = 0

    def add(self, batch: Batch) -> None:
        events, functions = self.events, batch.functions
        self.told += len(batch.events) + len(batch.steps)
        for entry in batch.events:
            known = events.get(entry.event_id)
            if known is None or is_newer(entry, known[0]):
                events[entry.event_id] = entry, functions[entry.function]
        self.steps += batch.steps


def is_newer(entry: EventEntry, known: EventEntry) -> bool:
    """Whether `entry` replaces what is known of the same event."""
    ends, ended = entry.status >= _FIRST_END, known.status >= _FIRST_END
    return ends if ends != ended else entry.at_ms >= known.at_ms


def ran_once_and_ended(entry: EventEntry) -> bool:
    """Whether nothing was told of the event before, as far as it tells."""
    return entry.status >= _FIRST_END and entry.attempts <= 1


EventRow = tuple[str, int, int, int, int, int, int, int, int, str | None, str | None, str | None, int | None, str | None]
EVENT_COLUMNS = (
    "id",
    "accepted_ms",
    "topic_offset",
    "function_id",
    "started_after_ms",
    "changed_after_ms",
    "topic_partition",
    "status",
    "attempts",
    "qualifier",
    "version",
    "reason",
    "next_ms",
    "error",
)


def event_row(entry: EventEntry, function_id: int) -> EventRow:
    """In the order of EVENT_COLUMNS."""
    accepted_ms, started_ms = entry.accepted_at_ms, entry.started_at_ms
    return (
        entry.event_id,
        accepted_ms,
        entry.offset,
        function_id,
        _within(started_ms - accepted_ms) if started_ms else -1,
        _within(entry.at_ms - accepted_ms),
        entry.partition,
        entry.status,
        entry.attempts if entry.attempts <= SMALL_MAX else SMALL_MAX,
        entry.qualifier,
        entry.version or None,
        entry.reason or None,
        entry.next_at_ms or None,
        storable(entry.error) if entry.error else None,
    )


StepRow = tuple[str, int, int, int, str | None, str | None, str | None]
STEP_COLUMNS = ("id", "at_ms", "kind", "digest", "target", "detail", "source")


def step_row(entry: StepEntry) -> StepRow:
    """In the order of STEP_COLUMNS."""
    told = f"{entry.target}\n{entry.source}"
    digest = int.from_bytes(uuid.uuid5(uuid.NAMESPACE_OID, told).bytes[:8], signed=True)
    target, detail, source = (storable(text) or None for text in (entry.target, entry.detail, entry.source))
    return (as_uuid(entry.event_id), entry.at_ms, entry.kind, digest, target, detail, source)


def with_uuids(entries: Iterable[tuple[EventEntry, str]]) -> Sequence[tuple[EventEntry, str]]:
    """For ids that are none: the same made-up one for the same id."""
    return [(msgspec.structs.replace(entry, event_id=as_uuid(entry.event_id)), arn) for entry, arn in entries]


def as_uuid(event_id: str) -> str:
    try:
        return str(uuid.UUID(event_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, event_id))


def _within(after_ms: int) -> int:
    """Clocks of machines differ a little, and an event may wait for weeks where Kafka was away."""
    return max(0, min(after_ms, INT_MAX))


def storable(text: str) -> str:
    """Postgres has no text with a zero in it, nor with half a character."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
