"""Log lines of functions, on their way to Kafka. In batches, in the background, never on the path of an invocation.

Each environment is a log stream. What it writes is kept as it came; a flush every 250 ms cuts it into events and makes one
record a stream out of them, on the topic `<prefix>.logs`, keyed by the stream. Everything is bounded: when Kafka is away
or too slow the oldest go first, are counted, and the log says how much is missing.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from datetime import UTC, datetime

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from prometheus_client import Counter, Gauge

from shared.domain.functions import VersionSpec
from shared.settings import Settings

log = logging.getLogger("lambdad.worker")

FLUSH_INTERVAL_S = 1.0
STREAM_BYTES_MAX = 4 * 1024 * 1024
"""What one environment may write between two flushes."""
PENDING_BYTES_MAX = 64 * 1024 * 1024
"""What all environments together may hold between two flushes."""
QUEUE_BYTES_MAX = 32 * 1024 * 1024
RECORD_BYTES_MAX = 512 * 1024
EVENT_BYTES_MAX = 256 * 1024
SEND_TIMEOUT_S = 10.0
RECONNECT_DELAY_S = 2.0
STOP_TIMEOUT_S = 1.5
RETENTION_MS = 7 * 24 * 3_600 * 1_000
SEGMENT_BYTES = 128 * 1024 * 1024

DROPPED_BYTES = Counter("lambdad_worker_log_dropped_bytes_total", "Function log that could not leave in time")
SENT_RECORDS = Counter("lambdad_worker_log_records_total", "Function log records that Kafka has taken")
QUEUED_BYTES = Gauge("lambdad_worker_log_queued_bytes", "Function log records that wait for Kafka")


class LogEvent(msgspec.Struct, frozen=True, array_like=True):
    timestamp_ms: int
    message: str


class LogBatch(msgspec.Struct, frozen=True):
    """The value of one record, JSON: events of one log stream in the order in which they were written."""

    log_group: str
    log_stream: str
    function_name: str
    function_version: str
    events: list[LogEvent]


def log_stream_name(version: str, now: datetime) -> str:
    """`YYYY/MM/DD/[<version>]<32 hex>`, new for every environment."""
    return f"{now:%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"


class StreamLog:
    """What one environment writes until the next flush."""

    __slots__ = ("_bytes", "_dropped_bytes", "_pending", "_shipper", "group", "name", "spec")

    def __init__(self, shipper: LogShipper, spec: VersionSpec) -> None:
        self.spec = spec
        self.group = spec.log_group
        self.name = log_stream_name(spec.version, datetime.now(UTC))
        self._shipper = shipper
        self._pending: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._dropped_bytes = 0

    def append(self, data: bytes) -> None:
        if not self._pending:
            self._shipper.wake(self)
        size = len(data)
        self._pending.append((time.time(), data))
        self._bytes += size
        self._shipper.pending_bytes += size
        if self._bytes > STREAM_BYTES_MAX or self._shipper.pending_bytes > PENDING_BYTES_MAX:
            self._drop_oldest()

    def take(self) -> list[LogEvent]:
        """Everything since the last call, as events: a line each, blank lines left out."""
        self._shipper.pending_bytes -= self._bytes
        pending, self._pending, self._bytes = self._pending, deque(), 0
        events: list[LogEvent] = []
        if self._dropped_bytes:
            text = f"{self._dropped_bytes} bytes of log were dropped here: they came faster than they could be stored\n"
            events.append(LogEvent(int(time.time() * 1e3), text))
            self._dropped_bytes = 0
        rest, began = b"", 0.0
        for at, data in pending:
            if not rest and data[-1] == 0x0A and len(data) <= EVENT_BYTES_MAX:
                # Whole lines, as the platform writes them for every invocation.
                at_ms = int(at * 1e3)
                lines_of = data[:-1].decode("utf-8", "replace").split("\n")
                events.extend([LogEvent(at_ms, line + "\n") for line in lines_of if line.strip("\r")])
                continue
            *lines, last = data.split(b"\n")
            for line in lines:
                _add(events, began if rest else at, rest + line, b"\n")
                rest = b""
            if last:
                began = began if rest else at
                rest += last
        _add(events, began, rest, b"")
        return events

    def _drop_oldest(self) -> None:
        shipper = self._shipper
        while len(self._pending) > 1 and (self._bytes > STREAM_BYTES_MAX or shipper.pending_bytes > PENDING_BYTES_MAX):
            _, data = self._pending.popleft()
            self._bytes -= len(data)
            shipper.pending_bytes -= len(data)
            self._dropped_bytes += len(data)
            DROPPED_BYTES.inc(len(data))


def _add(events: list[LogEvent], at: float, line: bytes, end: bytes) -> None:
    if line.strip(b"\r"):
        events.append(LogEvent(int(at * 1e3), (line[:EVENT_BYTES_MAX] + end).decode("utf-8", "replace")))


class LogShipper:
    """Owns the queue and the producer. `run` until cancelled; everything else only touches memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = f"{settings.events.topic_prefix}.logs"
        self.pending_bytes = 0
        self._dirty: list[StreamLog] = []
        self._woken = asyncio.Event()
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._queue_bytes = 0
        QUEUED_BYTES.set_function(lambda: self._queue_bytes)

    def open(self, spec: VersionSpec, environment_id: str) -> StreamLog:
        return StreamLog(self, spec)

    def wake(self, stream: StreamLog) -> None:
        """`stream` has something to flush."""
        self._dirty.append(stream)
        if not self._woken.is_set():
            self._woken.set()

    async def run(self) -> None:
        """Send until cancelled; then once more what is left, for a moment. A Kafka that is away is tried again for ever."""
        producer: AIOKafkaProducer | None = None
        try:
            while True:
                await self._woken.wait()
                await asyncio.sleep(FLUSH_INTERVAL_S)
                self._woken.clear()
                self.collect()
                producer = producer or await self._connect()
                if producer is not None and await self._send(producer):
                    continue
                if producer is not None:
                    await self._close(producer)
                    producer = None
                await asyncio.sleep(RECONNECT_DELAY_S)
                self._woken.set()
        finally:
            if producer is not None:
                self.collect()
                await self._send(producer, STOP_TIMEOUT_S)
                await self._close(producer)

    def collect(self) -> None:
        """Turn what the streams hold into records. The oldest records go when there is no room."""
        dirty, self._dirty = self._dirty, []
        for stream in dirty:
            key = stream.name.encode()
            for events in _record_sized(stream.take()):
                spec = stream.spec
                batch = LogBatch(stream.group, stream.name, spec.function_name, spec.version, events)
                value = msgspec.json.encode(batch)
                self._queue.append((key, value))
                self._queue_bytes += len(value)
        lost = 0
        while self._queue_bytes > QUEUE_BYTES_MAX:
            _, value = self._queue.popleft()
            self._queue_bytes -= len(value)
            lost += len(value)
        if lost:
            DROPPED_BYTES.inc(lost)
            log.warning("%d bytes of function log were dropped: Kafka does not take them", lost)

    async def _connect(self) -> AIOKafkaProducer | None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap_servers,
            client_id=f"{self._settings.instance}-logs",
            acks=1,
            linger_ms=0,
            max_request_size=2 * RECORD_BYTES_MAX,
            request_timeout_ms=int(SEND_TIMEOUT_S * 1e3),
        )
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._ensure_topic()
                await producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("function logs wait: Kafka cannot be reached (%s)", error or "it took too long")
            await self._close(producer)
            return None
        return producer

    async def _ensure_topic(self) -> None:
        events = self._settings.events
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._settings.kafka_bootstrap_servers, client_id=f"{self._settings.instance}-logs"
        )
        try:
            await admin.start()
            if self._topic not in await admin.list_topics():
                configs = {"retention.ms": str(RETENTION_MS), "segment.bytes": str(SEGMENT_BYTES)}
                topic = NewTopic(self._topic, events.async_partitions, events.replication_factor, topic_configs=configs)
                for name, code, *_ in (await admin.create_topics([topic])).topic_errors:
                    if code and for_code(code) is not TopicAlreadyExistsError:
                        raise for_code(code)(f"topic {name} could not be created")
        finally:
            await admin.close()

    async def _send(self, producer: AIOKafkaProducer, timeout_s: float = SEND_TIMEOUT_S) -> bool:
        """Send all that is queued; a record leaves the queue when Kafka has it. False when some were left."""
        batch = list(self._queue)
        sent: list[asyncio.Future[object]] = []
        try:
            async with asyncio.timeout(timeout_s):
                for key, value in batch:
                    sent.append(await producer.send(self._topic, value, key=key))
                await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("function logs wait: Kafka does not take them (%s)", error or "it took too long")
        for future in sent:
            if not future.done() or future.cancelled() or future.exception() is not None:
                return False
            _, value = self._queue.popleft()
            self._queue_bytes -= len(value)
            SENT_RECORDS.inc()
        return len(sent) == len(batch)

    async def _close(self, producer: AIOKafkaProducer) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await producer.stop()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("the log producer did not stop cleanly: %s", error or "it took too long")


def _record_sized(events: list[LogEvent]) -> list[list[LogEvent]]:
    records: list[list[LogEvent]] = []
    size = RECORD_BYTES_MAX
    for event in events:
        cost = len(event.message) + 64
        if size + cost > RECORD_BYTES_MAX:
            records.append([])
            size = 0
        records[-1].append(event)
        size += cost
    return records
