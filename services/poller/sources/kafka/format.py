"""Kafka records: the event that a function gets for a batch of them, byte for byte as AWS builds it, and what else is told of
them.

Source: "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache Kafka" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec
from aiokafka import ConsumerRecord

from services.poller.mapping.contract import FilterView, LaneName
from shared.domain.event_patterns import Number
from shared.domain.mappings import EventSourceMapping
from shared.events.records import KafkaBatchInfo, KafkaPartitionInfo

TIMESTAMP_TYPES = ("CREATE_TIME", "LOG_APPEND_TIME")
RECORD_OVERHEAD_BYTES = 220
"""Upper bound of a record's JSON besides topic, key, value and headers: member names, three numbers, punctuation."""
EVENT_OVERHEAD_BYTES = 4_096
"""Upper bound of the event's JSON around its records: source, ARN, up to ten bootstrap servers."""


class KafkaRecord(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """One record. Bytes are written as base64, those of headers as Java's signed numbers.

    A record without a key (or value) has no such member."""

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


class KafkaItem(msgspec.Struct, frozen=True):
    """partition: "topic-partition"."""

    partition: str
    offset: int


class KafkaFormat:
    """Of the records of one mapping. Lanes are named "topic-partition"."""

    item_type: type[Hashable] = KafkaItem
    overhead_bytes = EVENT_OVERHEAD_BYTES

    def __init__(self, mapping: EventSourceMapping, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._source_arn = mapping.source_arn
        self._mapping_uuid = mapping.uuid
        self._source = "aws:kafka" if mapping.source_arn else "SelfManagedKafka"
        self._encode = msgspec.json.Encoder().encode

    def size_bytes(self, record: ConsumerRecord) -> int:
        size: int = RECORD_OVERHEAD_BYTES + len(record.topic) * 6
        if record.key:
            size += len(record.key) * 4 // 3 + 4
        if record.value:
            size += len(record.value) * 4 // 3 + 4
        if record.headers:
            size += sum(6 * len(name) + 5 * len(value or b"") + 16 for name, value in record.headers)
        return size

    def timestamp_ms(self, record: ConsumerRecord) -> int:
        return int(record.timestamp)

    def event(self, lane: LaneName, records: Sequence[ConsumerRecord]) -> bytes:
        types = TIMESTAMP_TYPES
        rendered = [
            KafkaRecord(
                r.topic,
                r.partition,
                r.offset,
                r.timestamp,
                types[r.timestamp_type or 0],
                [{name: memoryview(value or b"").cast("b").tolist()} for name, value in r.headers] if r.headers else [],
                r.key,
                r.value,
            )
            for r in records
        ]
        return self._encode(KafkaEvent(self._source, self._servers, {lane: rendered}, self._source_arn))

    def item_id(self, lane: LaneName, record: ConsumerRecord) -> Hashable:
        return KafkaItem(lane, record.offset)

    def filter_view(self, record: ConsumerRecord) -> FilterView:
        metadata = {
            "topic": record.topic,
            "partition": Number(str(record.partition)),
            "offset": Number(str(record.offset)),
            "timestamp": Number(str(record.timestamp)),
        }
        return FilterView(metadata, record.value)

    def traces(self, records: Sequence[ConsumerRecord]) -> Sequence[str]:
        return ()

    def batch_info(self, lane: LaneName, records: Sequence[ConsumerRecord], payload_bytes: int) -> KafkaBatchInfo:
        first, last = records[0], records[-1]
        partition = KafkaPartitionInfo(first.offset, last.offset, first.timestamp, last.timestamp)
        return KafkaBatchInfo(
            len(records), self._source_arn, self._servers, payload_bytes, {lane: partition}, self._mapping_uuid
        )
