"""What functions and the platform log, as it travels on the log topic: docs/log-topic.md.

One record is a batch of events of one log stream, in the order in which they were written; its key is the stream's name. The
value is JSON, so that any consumer of Kafka can read it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.events.records import RecordError

LOG_RECORD_BYTES_MAX = 512 * 1024
"""The value of one record, as encoded."""


class LogEvent(msgspec.Struct, frozen=True, array_like=True):
    """One line with its line break if it had one; a line too long for a record is several events."""

    timestamp_ms: int
    message: str


class Dropped(msgspec.Struct, frozen=True):
    """What is missing before the first event of a batch, which says so in words."""

    bytes: int
    lines: int


class LogSource(msgspec.Struct, frozen=True):
    """Where events come from: one environment of one version, and the region that it is in."""

    log_group: str
    log_stream: str
    function_name: str
    function_version: str
    region: str


class LogBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """region: empty in what an earlier version wrote."""

    log_group: str
    log_stream: str
    function_name: str
    function_version: str
    events: list[LogEvent]
    dropped: Dropped | None = None
    region: str = ""


def encode_log_batches(source: LogSource, events: list[LogEvent], dropped: Dropped | None = None) -> list[bytes]:
    """Values of records that hold these events, none over LOG_RECORD_BYTES_MAX. dropped: goes with the first."""
    values: list[bytes] = []
    _encode(source, events, dropped, values)
    return values


def _encode(source: LogSource, events: list[LogEvent], dropped: Dropped | None, values: list[bytes]) -> None:
    batch = LogBatch(**msgspec.structs.asdict(source), events=events, dropped=dropped)
    value = msgspec.json.encode(batch)
    if len(value) <= LOG_RECORD_BYTES_MAX:
        values.append(value)
        return
    # How many bytes they become is known only once they are encoded, and it is rare that they are too many.
    for part in _parts(events, len(value) // LOG_RECORD_BYTES_MAX + 1):
        _encode(source, part, dropped, values)
        dropped = None


def _parts(events: list[LogEvent], count: int) -> Iterator[list[LogEvent]]:
    """So many, if there are so many events; one event's text is divided."""
    if len(events) > 1:
        size = -(-len(events) // min(count, len(events)))
        for at in range(0, len(events), size):
            yield events[at : at + size]
    else:
        (event,) = events
        size = -(-len(event.message) // count)
        for at in range(0, len(event.message), size):
            yield [LogEvent(event.timestamp_ms, event.message[at : at + size])]


def decode_log_batch(value: bytes) -> LogBatch:
    """Raises RecordError."""
    try:
        return msgspec.json.decode(value, type=LogBatch)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise RecordError(f"not a record of the log topic: {error}") from error
