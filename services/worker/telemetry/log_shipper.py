"""Log lines of functions, on their way to Kafka. In batches, in the background, never on the path of an invocation.

A flush a second cuts what each environment wrote into events and makes records of them: shared/events/log_records.py.
Everything is bounded: when Kafka is away or too slow, or a function logs more than its share, the oldest go first. What is
dropped, for whatever reason, is counted, and the log says how much is missing. A record that Kafka will never take is dropped
and keeps nothing else waiting.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    CorruptRecordException,
    InvalidMessageError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from prometheus_client import Counter, Gauge

from services.worker.telemetry.log_rates import LogRates
from services.worker.telemetry.log_stream import LogStream
from shared.domain.functions import VersionSpec
from shared.events.kafka import client_arguments
from shared.events.log_records import LOG_RECORD_BYTES_MAX, LogEvent, decode_log_batch, encode_log_batches
from shared.events.topics import EventsUnavailableError, TopicNames, ensure_topics
from shared.settings import Settings

log = logging.getLogger("lambdad.worker")

FLUSH_INTERVAL_S = 1.0
QUEUE_BYTES_MAX = 32 * 1024 * 1024
SEND_BYTES = 2 * 1024 * 1024
"""So many are given to the producer at a time, which holds them once more."""
SEND_TIMEOUT_S = 10.0
RECONNECT_DELAY_S = 2.0
STOP_TIMEOUT_S = 1.5

SENT_RECORDS = Counter("lambdad_worker_log_records_total", "Function log records that Kafka has taken")
QUEUED_BYTES = Gauge("lambdad_worker_log_queued_bytes", "Function log records that wait for Kafka")

_NEVER_TAKEN = (
    CorruptRecordException,
    InvalidMessageError,
    InvalidTimestampError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
"""What Kafka answers for the record's own sake: sent again it would be refused again."""
_TRIED_AGAIN = (KafkaError, OSError, TimeoutError)


class _Record(msgspec.Struct, frozen=True):
    stream: LogStream
    value: bytes


class LogShipper:
    """Owns the queue and the producer. `run` until cancelled; everything else only touches memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = TopicNames.of(settings.events).logs
        self._rates = LogRates(settings.worker.log_bytes_a_second_max)
        self.pending_bytes = 0
        self._dirty: deque[LogStream] = deque()
        self._woken = asyncio.Event()
        self._queue: deque[_Record] = deque()
        self._queue_bytes = 0
        QUEUED_BYTES.set_function(lambda: self._queue_bytes)

    def open(self, spec: VersionSpec, environment_id: str) -> LogStream:
        return LogStream(self, spec)

    def wake(self, stream: LogStream) -> None:
        """`stream` has something to flush."""
        self._dirty.append(stream)
        if not self._woken.is_set():
            self._woken.set()

    def is_idle(self) -> bool:
        """Everything that was written is on the topic."""
        return not self._queue and not self._dirty

    async def run(self) -> None:
        """Send until cancelled; then once more what is left, for a moment. A Kafka that is away is tried again for ever."""
        producer: AIOKafkaProducer | None = None
        collecting: Iterator[None] = iter(())
        if not self.is_idle():
            self._woken.set()
        try:
            while True:
                await self._woken.wait()
                await asyncio.sleep(FLUSH_INTERVAL_S)
                self._woken.clear()
                collecting = self.collect()
                taken = True
                for _ in collecting:
                    if producer is not None and taken and self._queue_bytes > SEND_BYTES:
                        taken = await self._send(producer)
                    else:
                        await asyncio.sleep(0)
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
                for _ in itertools.chain(collecting, self.collect(last=True)):
                    pass
                await self._send(producer, STOP_TIMEOUT_S)
                await self._close(producer)

    def collect(self, *, last: bool = False) -> Iterator[None]:
        """Turn what the streams hold into records, a piece at a time. The oldest records go when there is no room. last: lines
        that are not ended yet, too."""
        lost = 0
        for _ in range(len(self._dirty)):
            stream = self._dirty.popleft()
            function = f"{stream.source.region}/{stream.source.function_name}"
            stream.keep(self._rates.allowance(function))
            waiting_bytes = stream.waiting_bytes()
            dropped, pieces = stream.take(last=last)
            self._rates.spend(function, waiting_bytes - stream.waiting_bytes())
            for events in pieces:
                self._enqueue(stream, encode_log_batches(stream.source, events, dropped))
                dropped = None
                while self._queue_bytes > QUEUE_BYTES_MAX:
                    lost += self._drop(self._remove_first())
                yield
        self._rates.forget_savers()
        if lost:
            log.warning("%d bytes of function log were dropped: Kafka does not take them", lost)

    def _enqueue(self, stream: LogStream, values: Iterable[bytes]) -> None:
        for value in values:
            self._queue.append(_Record(stream, value))
            self._queue_bytes += len(value)

    def _remove_first(self) -> _Record:
        record = self._queue.popleft()
        self._queue_bytes -= len(record.value)
        return record

    def _drop(self, record: _Record) -> int:
        """The record goes no further; the bytes of log that are lost with it. Its stream tells of them."""
        batch = decode_log_batch(record.value)
        events: list[LogEvent] = batch.events
        if batch.dropped is not None:
            record.stream.untold(batch.dropped)
            events = events[1:]
        size = sum(len(event.message.encode()) for event in events)
        if events:
            record.stream.dropped(size, len(events))
        return size

    async def _connect(self) -> AIOKafkaProducer | None:
        producer = AIOKafkaProducer(
            **client_arguments(self._settings.kafka),
            client_id=f"{self._settings.instance}-logs",
            acks=1,
            linger_ms=0,
            max_request_size=2 * LOG_RECORD_BYTES_MAX,
            request_timeout_ms=int(SEND_TIMEOUT_S * 1e3),
        )
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await ensure_topics(self._settings, [self._topic], timeout_s=SEND_TIMEOUT_S)
                await producer.start()
        except (KafkaError, OSError, TimeoutError, EventsUnavailableError) as error:
            log.warning("function logs wait: Kafka cannot be reached (%s)", error or "it took too long")
            await self._close(producer)
            return None
        return producer

    async def _send(self, producer: AIOKafkaProducer, timeout_s: float = SEND_TIMEOUT_S) -> bool:
        """Send all that is queued. False when some were left."""
        while self._queue:
            if not await self._send_some(producer, timeout_s):
                return False
        return True

    async def _send_some(self, producer: AIOKafkaProducer, timeout_s: float) -> bool:
        """A record leaves the queue when Kafka has it, or will never have it."""
        batch: list[_Record] = []
        size = 0
        for record in self._queue:
            if size > SEND_BYTES:
                break
            batch.append(record)
            size += len(record.value)
        sent: list[asyncio.Future[object] | Exception] = []
        try:
            async with asyncio.timeout(timeout_s):
                for record in batch:
                    sent.append(await self._hand_over(producer, record))
                await asyncio.wait([each for each in sent if isinstance(each, asyncio.Future)] or [_done()])
        except _TRIED_AGAIN as error:
            log.warning("function logs wait: Kafka does not take them (%s)", error or "it took too long")
        left = [record for record, outcome in zip(batch, sent, strict=False) if not self._is_settled(record, outcome)]
        left += batch[len(sent) :]
        for _ in batch:
            self._remove_first()
        self._queue.extendleft(reversed(left))
        self._queue_bytes += sum(len(record.value) for record in left)
        return not left

    async def _hand_over(self, producer: AIOKafkaProducer, record: _Record) -> asyncio.Future[object] | Exception:
        """Raises what is not about this record."""
        try:
            accepted: asyncio.Future[object] = await producer.send(self._topic, record.value, key=record.stream.name.encode())
        except Exception as error:
            if _is_tried_again(error):
                raise
            return error
        return accepted

    def _is_settled(self, record: _Record, outcome: asyncio.Future[object] | Exception) -> bool:
        error: BaseException | None
        if isinstance(outcome, asyncio.Future):
            if not outcome.done() or outcome.cancelled():
                return False
            error = outcome.exception()
        else:
            error = outcome
        if error is None:
            SENT_RECORDS.inc()
            return True
        if _is_tried_again(error):
            log.warning("function logs wait: Kafka does not take them (%r)", error)
            return False
        lost = self._drop(record)
        log.error("%d bytes of function log were dropped: their record cannot be sent (%r)", lost, error)
        return True

    async def _close(self, producer: AIOKafkaProducer) -> None:
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await producer.stop()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("the log producer did not stop cleanly: %s", error or "it took too long")


def _is_tried_again(error: BaseException) -> bool:
    return isinstance(error, _TRIED_AGAIN) and not isinstance(error, _NEVER_TAKEN)


def _done() -> asyncio.Future[object]:
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
