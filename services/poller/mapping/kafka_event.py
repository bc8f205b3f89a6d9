"""The event that a function gets for a batch of Kafka records, byte for byte as AWS builds it.

Source: "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache Kafka" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aiokafka import ConsumerRecord

from shared.domain.mappings import EventSourceMapping

TIMESTAMP_TYPES = ("CREATE_TIME", "LOG_APPEND_TIME")
RECORD_OVERHEAD_BYTES = 220
"""Upper bound of a record's JSON besides topic, key, value and headers: member names, three numbers, punctuation."""
EVENT_OVERHEAD_BYTES = 4_096
"""Upper bound of the event's JSON around its records: source, ARN, up to ten bootstrap servers."""


class KafkaRecord(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """One record. Bytes are written as base64. A record without a key (or value) has no such member."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: str
    headers: list[dict[str, list[int]]]
    key: bytes | None = None
    value: bytes | None = None


class KafkaEvent(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """event_source_arn: None for a self-managed cluster. records: by "topic-partition", in order."""

    event_source: str
    bootstrap_servers: str
    records: dict[str, list[KafkaRecord]]
    event_source_arn: str | None = None


class EventBuilder:
    """Builds the events of one mapping."""

    def __init__(self, mapping: EventSourceMapping, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.source_arn = mapping.source_arn
        self._source = "aws:kafka" if mapping.source_arn else "SelfManagedKafka"
        self._encode = msgspec.json.Encoder().encode

    def build(self, partition_name: str, records: Sequence[ConsumerRecord]) -> bytes:
        """The event's JSON for records of one partition. partition_name: "topic-partition"."""
        types = TIMESTAMP_TYPES
        rendered = [
            KafkaRecord(
                r.topic,
                r.partition,
                r.offset,
                r.timestamp,
                types[r.timestamp_type or 0],
                [{name: list(value)} for name, value in r.headers] if r.headers else [],
                r.key,
                r.value,
            )
            for r in records
        ]
        return self._encode(KafkaEvent(self._source, self.bootstrap_servers, {partition_name: rendered}, self.source_arn))


def size_bound(record: ConsumerRecord) -> int:
    """An upper bound, in bytes, of what the record adds to the event."""
    size = RECORD_OVERHEAD_BYTES + len(record.topic) * 6
    if record.key:
        size += len(record.key) * 4 // 3 + 4
    if record.value:
        size += len(record.value) * 4 // 3 + 4
    for name, value in record.headers:
        size += 6 * len(name) + 5 * len(value or b"") + 16
    return size
