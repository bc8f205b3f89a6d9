"""What functions and the platform log, as it travels on the log topic: docs/log-topic.md.

One record is a batch of events of one log stream, in the order in which they were written; its key is the stream's name. The
value is JSON, so that any consumer of Kafka can read it.
"""

from __future__ import annotations

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
    first, rest = _halves(events)
    _encode(source, first, dropped, values)
    _encode(source, rest, None, values)


def _halves(events: list[LogEvent]) -> tuple[list[LogEvent], list[LogEvent]]:
    if len(events) > 1:
        middle = len(events) // 2
        return events[:middle], events[middle:]
    (event,) = events
    middle = len(event.message) // 2
    return (
        [LogEvent(event.timestamp_ms, event.message[:middle])],
        [LogEvent(event.timestamp_ms, event.message[middle:])],
    )


def decode_log_batch(value: bytes) -> LogBatch:
    """Raises RecordError."""
    try:
        return msgspec.json.decode(value, type=LogBatch)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise RecordError(f"not a record of the log topic: {error}") from error
