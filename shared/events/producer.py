"""One batching, idempotent producer for every topic of the event path.

What waits for a topic leaves as one batch: at once when none is under way, otherwise when that one has been taken. So a busy
process pays Kafka's round trip once for many records, and an idle one pays nothing but the trip. A producer that Kafka no
longer accepts (a lost sequence, a fenced id) or that stands still past its deadline is thrown away and made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import zlib
from collections import deque
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from shared.domain.errors import LambdadError
from shared.events.kafka import client_arguments
from shared.events.records import RECORD_BYTES_MAX
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.events.producer")

BATCH_BYTES = 512 * 1024
IN_FLIGHT_BATCHES_MAX = 2
BESIDE_BYTES = 64 * 1024
BESIDE_S = 0.005
"""A second batch leaves beside the first when so much waits, or for so long: a small one costs as much as a large one."""
WAITING_RECORDS_MAX = 20_000
WAITING_BYTES_MAX = 128 * 1024 * 1024
DELIVERY_TIMEOUT_S = 20.0
RESTART_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
STOP_TIMEOUT_S = 3.0
SWEEP_S = 0.25
REQUEST_TIMEOUT_MS = 10_000

Headers = Sequence[tuple[str, bytes]]


OnEnd = Callable[["ProduceError | None"], None]
"""Called once, with None when every in-sync replica has the record, or with what went wrong. It must not raise."""


class ProduceError(LambdadError):
    """Kafka did not acknowledge a record in time; it may or may not have been written."""


class Sending:
    """One record on its way. deadline: loop time by which whoever sent it is told. on_end: None once that was done, or nobody
    wants to know."""

    __slots__ = ("deadline", "headers", "on_end", "value")

    def __init__(self, value: bytes, headers: Headers, on_end: OnEnd, deadline: float) -> None:
        self.value = value
        self.headers = headers
        self.on_end: OnEnd | None = on_end
        self.deadline = deadline

    def cancel(self) -> None:
        """Nobody wants to know any more; what has not left yet is not written."""
        self.on_end = None

    def end(self, error: ProduceError | None) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is None:
            return
        try:
            on_end(error)
        except Exception:
            # Its sender's fault alone: the other records of the batch have ended too.
            log.exception("a record's end could not be dealt with")


class _Lane:
    """The records of one topic, or of one of its partitions: those that wait, and the batches under way."""

    __slots__ = ("beside", "bytes", "count", "in_flight", "partitions", "scheduled", "topic", "waiting")

    def __init__(self, topic: str, partitions: range) -> None:
        """partitions: those that batches go to, in turn."""
        self.topic = topic
        self.count = len(partitions)
        self.waiting: deque[Sending] = deque()
        self.bytes = 0
        """Of what waits."""
        self.in_flight: list[list[Sending]] = []
        self.scheduled = False
        self.beside: asyncio.TimerHandle | None = None
        """When what waits leaves although another batch is under way."""
        self.partitions = itertools.cycle(partitions)

    def expire(self, now: float) -> bool:
        """Tell the senders of what is overdue. Whether records are left."""
        left = False
        for records in (self.waiting, *self.in_flight):
            for record in records:
                if record.deadline > now:
                    # The rest came later still.
                    left = True
                    break
                record.end(ProduceError("Kafka did not acknowledge in time"))
        return left


class BatchingProducer:
    """Writes records with acks=all. `open` must have returned before anything is sent; `close` flushes what it can, bounded."""

    def __init__(self, cluster: KafkaCluster, *, client_id: str, timeout_s: float) -> None:
        self._cluster = cluster
        self._client_id = client_id
        self._timeout_s = timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[str, _Lane] = {}
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: dict[asyncio.Task[None], Sending] = {}
        self._restart: asyncio.Task[None] | None = None
        self._problem: str | None = "not started"
        self._closed = False
        self._sweeping = False
        self._loop = asyncio.get_running_loop()

    @classmethod
    def of(cls, settings: Settings, name: str) -> BatchingProducer:
        return cls(settings.kafka, client_id=f"lambdad-{name}", timeout_s=settings.events.produce_timeout_s)

    async def open(self) -> None:
        """Raises KafkaError or OSError when no broker answers."""
        self._producer = await self._make()
        self._problem = None

    def brokers(self) -> list[tuple[str, int]]:
        """Host and port of each, as Kafka advertises them; none while it is not connected."""
        return [] if self._producer is None else [(each.host, each.port) for each in self._producer.client.cluster.brokers()]

    def problem(self) -> str | None:
        """What is wrong with the connection to Kafka, None when the last delivery worked."""
        return self._problem

    def start(self, topic: str, value: bytes, on_end: OnEnd, headers: Headers = (), *, key: bytes | None = None) -> Sending:
        """Write a record; on_end is told once every in-sync replica has it, or gets a ProduceError after the deadline or a
        refusal, and never before `start` has returned. What is returned stops it, as far as it still can be.

        key: records with the same one are written to one partition, in the order in which they were started.
        """
        record = Sending(value, headers, on_end, self._loop.time() + self._timeout_s)
        lane = self._lanes.get(topic)
        if lane is not None and self._room.is_set() and len(value) <= RECORD_BYTES_MAX:
            self._queue(lane if key is None else self._lane_of(lane, key), record)
        else:
            waiting = self._loop.create_task(self._queue_later(topic, record, key))
            self._late[waiting] = record
            waiting.add_done_callback(self._late.pop)
        return record

    async def send(self, topic: str, value: bytes, *, headers: Headers = (), key: bytes | None = None) -> None:
        """`start`, awaited. Raises ProduceError."""
        acknowledged: asyncio.Future[None] = self._loop.create_future()

        def on_end(error: ProduceError | None) -> None:
            if acknowledged.done():
                return
            if error is None:
                acknowledged.set_result(None)
            else:
                acknowledged.set_exception(error)

        record = self.start(topic, value, on_end, headers, key=key)
        try:
            await acknowledged
        finally:
            record.cancel()

    async def persist(self, topic: str, value: bytes, *, headers: Headers = ()) -> None:
        """Like `send`, but tries until Kafka has acknowledged: what the record stands for must stay unsettled meanwhile."""
        for failures in itertools.count():
            try:
                await self.send(topic, value, headers=headers)
            except ProduceError as error:
                log.warning("a record for %s is sent again: %s", topic, error)
                await asyncio.sleep(RESTART_BACKOFF_S[min(failures, len(RESTART_BACKOFF_S) - 1)])
            else:
                return

    async def close(self) -> None:
        """Wait (bounded) for what is in flight, then leave."""
        deadline = self._loop.time() + STOP_TIMEOUT_S
        while self._tasks and self._loop.time() < deadline:
            await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)
        self._closed = True
        if self._restart is not None:
            self._restart.cancel()
        for task in (*self._tasks, *self._late):
            task.cancel()
        for record in list(self._late.values()):
            record.end(ProduceError("the producer is closed"))
        for lane in self._lanes.values():
            for records in (lane.waiting, *lane.in_flight):
                for record in records:
                    record.end(ProduceError("the producer is closed"))
        producer, self._producer = self._producer, None
        if producer is not None:
            await _discard(producer)

    async def _queue_later(self, topic: str, record: Sending, key: bytes | None) -> None:
        """As soon as there is room and the topic is known."""
        try:
            if len(record.value) > RECORD_BYTES_MAX:
                raise ProduceError(f"a record of {len(record.value)} bytes is larger than {RECORD_BYTES_MAX}")
            if not self._room.is_set():
                await self._wait_for_room()
            lane = self._lanes.get(topic) or await self._open_lane(topic)
        except ProduceError as error:
            record.end(error)
        except Exception as error:
            log.exception("a record for %s could not be queued", topic)
            record.end(ProduceError(repr(error)))
        else:
            self._queue(lane if key is None else self._lane_of(lane, key), record)

    def _lane_of(self, lane: _Lane, key: bytes) -> _Lane:
        """That of the partition of a topic to which records with this key go. No topic has a slash in its name."""
        partition = zlib.crc32(key) % lane.count
        name = f"{lane.topic}/{partition}"
        found = self._lanes.get(name)
        if found is None:
            found = self._lanes[name] = _Lane(lane.topic, range(partition, partition + 1))
        return found

    def _queue(self, lane: _Lane, record: Sending) -> None:
        size_bytes = len(record.value)
        self._count(1, size_bytes)
        lane.waiting.append(record)
        lane.bytes += size_bytes
        self._schedule(lane)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Deadlines are kept by one coarse timer, not by one for each record."""
        now = self._loop.time()
        left = [lane.expire(now) for lane in self._lanes.values()]
        self._sweeping = any(left) and not self._closed
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _count(self, records: int, size_bytes: int) -> None:
        self._waiting_records += records
        self._waiting_bytes += size_bytes
        if self._waiting_records >= WAITING_RECORDS_MAX or self._waiting_bytes >= WAITING_BYTES_MAX:
            self._room.clear()
        else:
            self._room.set()

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._room.wait()
        except TimeoutError:
            raise ProduceError("too many records wait for Kafka") from None

    async def _open_lane(self, topic: str) -> _Lane:
        if self._producer is None:
            raise ProduceError(f"no connection to Kafka: {self._problem}")
        try:
            async with asyncio.timeout(self._timeout_s):
                partitions = await self._producer.partitions_for(topic)
        except (KafkaError, TimeoutError) as error:
            raise ProduceError(f"topic {topic} is not known: {error!r}") from error
        return self._lanes.setdefault(topic, _Lane(topic, range(max(1, len(partitions)))))

    def _schedule(self, lane: _Lane) -> None:
        if lane.scheduled or not lane.waiting or len(lane.in_flight) >= IN_FLIGHT_BATCHES_MAX:
            return
        if not lane.in_flight or lane.bytes >= BESIDE_BYTES:
            lane.scheduled = True
            self._loop.call_soon(self._flush, lane)
        elif lane.beside is None:
            lane.beside = self._loop.call_later(BESIDE_S, self._flush, lane)

    def _flush(self, lane: _Lane) -> None:
        lane.scheduled = False
        if lane.beside is not None:
            lane.beside.cancel()
            lane.beside = None
        while lane.waiting and len(lane.in_flight) < IN_FLIGHT_BATCHES_MAX:
            producer = self._producer
            if producer is None:
                self._fail_waiting(lane)
                return
            batch = producer.create_batch()
            records: list[Sending] = []
            while lane.waiting:
                record = lane.waiting[0]
                # Whoever sent a record that expired was told so: writing it now would only make a surprise.
                if record.on_end is not None:
                    if batch.append(timestamp=None, key=None, value=record.value, headers=list(record.headers)) is None:
                        break
                    records.append(record)
                lane.waiting.popleft()
                lane.bytes -= len(record.value)
                self._count(-1, -len(record.value))
            if not records:
                continue
            lane.in_flight.append(records)
            task = asyncio.create_task(self._deliver(producer, lane, batch, records))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, producer: AIOKafkaProducer, lane: _Lane, batch: object, records: list[Sending]) -> None:
        # Whatever ends this, nobody is left waiting: these records are in no list any more that could expire.
        failure: ProduceError | None = ProduceError(f"the delivery of a batch for {lane.topic} was broken off")
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                written = await producer.send_batch(batch, lane.topic, partition=next(lane.partitions))
                await written
        except (KafkaError, TimeoutError, OSError) as error:
            failure = ProduceError(f"Kafka did not take a batch for {lane.topic}: {error!r}")
            self._replace(producer, repr(error))
        else:
            self._problem = failure = None
        finally:
            lane.in_flight.remove(records)
            self._schedule(lane)
            for record in records:
                record.end(failure)

    def _fail_waiting(self, lane: _Lane) -> None:
        failure = ProduceError(f"no connection to Kafka: {self._problem}")
        lane.bytes = 0
        while lane.waiting:
            record = lane.waiting.popleft()
            self._count(-1, -len(record.value))
            record.end(failure)

    def _replace(self, producer: AIOKafkaProducer, problem: str) -> None:
        """Give up a producer whose sequence is broken or that stands still; make the next one in the background."""
        if producer is not self._producer or self._closed:
            return
        log.warning("the producer is replaced: %s", problem)
        self._producer = None
        self._problem = problem
        self._restart = supervise("event-producer", lambda: self._start_again(producer), essential=True)

    async def _start_again(self, broken: AIOKafkaProducer) -> None:
        await _discard(broken)
        for attempt in itertools.count():
            try:
                self._producer = await self._make()
            except (KafkaError, OSError, TimeoutError) as error:
                self._problem = repr(error)
                await asyncio.sleep(RESTART_BACKOFF_S[min(attempt, len(RESTART_BACKOFF_S) - 1)])
            else:
                log.info("the producer is back")
                self._problem = None
                for lane in self._lanes.values():
                    self._schedule(lane)
                return

    async def _make(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_arguments(self._cluster),
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=RECORD_BYTES_MAX + 64 * 1024,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.start()
        except BaseException:
            await _discard(producer)
            raise
        return producer


async def _discard(producer: AIOKafkaProducer) -> None:
    """Close a producer within a bounded time, whatever it still waits for."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
            return
    # Its sender waits for acknowledgements that will not come: stop it without them.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            producer._message_accumulator.fail_all(ProducerClosed())
            producer._sender.sender_task.cancel()
            await producer.client.close()
