"""The asynchronous queue's consumer: runs accepted events and settles their offsets.

A partition never waits for a slow or throttled function: what cannot run now is written to a delay tier, acknowledged by
every in-sync replica, before its offset is settled. Only settled offsets are committed, so an event whose poller dies is run
by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec
from aiokafka import TopicPartition
from prometheus_client import Counter, Gauge

from services.poller import policy
from services.poller.admission import Admission
from shared.domain.errors import ApiError, DispatchError, ResourceNotFoundException, TooManyRequestsException
from shared.domain.functions import EventInvokeConfig, InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.records import AsyncEvent, RecordError, decode_event, encode
from shared.events.supervision import run_until
from shared.events.tiers import DelayTiers
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.async")

EXECUTED = Counter("lambdad_async_executed_total", "Attempts of asynchronous events that the function answered", ["result"])
PUT_BACK = Counter("lambdad_async_put_back_total", "Asynchronous events put into a delay tier", ["reason"])
ENDED = Counter("lambdad_async_ended_total", "Asynchronous events that ended", ["condition", "kept"])
IN_FLIGHT = Gauge("lambdad_async_in_flight", "Asynchronous events that run now")
UNREADABLE = Counter("lambdad_async_unreadable_total", "Records of the asynchronous topic that could not be read")

CAPACITY_WAIT_S = 5.0
FETCH_WAIT_S = 5.0
WAITING_FETCH_WAIT_S = 0.5
SPILL_AFTER_S = 3.0
SPILL_BACKOFFS_MAX = 4
"""Events that only waited for their turn come back soon: the function works, it has much to do."""
HELD_BYTES_MAX = 64 * 1024 * 1024
FULL_CHECK_S = 0.25
DRAIN_S = 4.0
CANCEL_S = 1.0


class Resolver(Protocol):
    async def resolve(self, function_name: str, qualifier: str | None) -> InvokeTarget: ...


class Invoker(Protocol):
    async def invoke(
        self, function_name: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> InvocationResult: ...


class _Job(msgspec.Struct, frozen=True):
    """One fetched event. reader: the group membership that its offset is settled with."""

    reader: GroupReader
    partition: TopicPartition
    offset: int
    event: AsyncEvent
    size_bytes: int


class AsyncPoller:
    """One member of the group that runs asynchronous events."""

    def __init__(self, settings: Settings, resolver: Resolver, invoker: Invoker, producer: BatchingProducer) -> None:
        self._names = TopicNames.of(settings.events)
        self._resolver = resolver
        self._invoker = invoker
        self._producer = producer
        self._tiers = DelayTiers(settings.events, producer)
        self._options = ReaderOptions(
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=self._names.asynchronous,
            client_id=f"{settings.instance or 'poller'}-async",
        )
        self._running_max = settings.events.in_flight_max
        self._held_max = settings.events.in_flight_max * 2
        self._admission: Admission[_Job] = Admission(self._running_max)
        self._held_bytes = 0
        self._room = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._reader: GroupReader | None = None

    def problem(self) -> str | None:
        """For readiness: None while this poller has its place in the group."""
        return None if self._reader is not None and self._reader.is_ready() else "has no place in the consumer group"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what runs then gets DRAIN_S seconds to end. Raises KafkaError when the group is lost: call again."""
        async with GroupReader([self._names.asynchronous], self._options) as reader:
            self._reader = reader
            try:
                await run_until(stop, self._fetch_for_ever(reader))
            finally:
                await self._drain()
                self._reader = None

    async def _fetch_for_ever(self, reader: GroupReader) -> None:
        while True:
            while self._admission.held >= self._held_max or self._held_bytes >= HELD_BYTES_MAX:
                await self._wait_for_room()
            wait_s = WAITING_FETCH_WAIT_S if self._admission.waiting else FETCH_WAIT_S
            for partition, records in (await reader.fetch(wait_s=wait_s)).items():
                for record in records:
                    await self._admit(reader, partition, record.offset, record.value or b"")
            self._admission.grow_slow(time.monotonic())
            self._start_jobs()

    async def _admit(self, reader: GroupReader, partition: TopicPartition, offset: int, value: bytes) -> None:
        try:
            event = decode_event(value)
        except RecordError as error:
            # Not of this queue's making: kept for a person to look at, never in the way of the others.
            UNREADABLE.inc()
            log.error("record %s@%d is set aside: %s", partition, offset, error)
            await self._producer.persist(self._names.undeliverable, value)
            reader.settle(partition, offset)
            return
        self._held_bytes += len(value)
        self._admission.offer(event.function_name, _Job(reader, partition, offset, event, len(value)), time.monotonic())

    async def _wait_for_room(self) -> None:
        """Until something ended. Events of functions that hold the window for too long are moved to a delay tier."""
        self._room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FULL_CHECK_S):
                await self._room.wait()
        self._admission.grow_slow(time.monotonic())
        self._start_jobs()
        for job in self._admission.spill(time.monotonic() - SPILL_AFTER_S):
            self._spawn(self._put_back_waiting(job))

    def _start_jobs(self) -> None:
        while (chosen := self._admission.next()) is not None:
            self._spawn(self._run_job(*chosen))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _run_job(self, function: str, job: _Job) -> None:
        throttled = False
        IN_FLIGHT.inc()
        try:
            throttled = await self._run_event(job.event)
            job.reader.settle(job.partition, job.offset)
        except Exception:
            # Its offset stays unsettled: the next owner of the partition runs it again.
            log.exception("event %s was left unsettled", job.event.event_id)
        finally:
            IN_FLIGHT.dec()
            self._held_bytes -= job.size_bytes
            self._admission.finished(function, time.monotonic(), throttled=throttled)
            self._room.set()
            self._start_jobs()

    async def _put_back_waiting(self, job: _Job) -> None:
        PUT_BACK.labels("busy").inc()
        event = msgspec.structs.replace(job.event, backoffs=min(job.event.backoffs + 1, SPILL_BACKOFFS_MAX))
        await self._put_back(policy.PutBack(event, policy.age_left_s(event, EventInvokeConfig(), _now_ms())))
        job.reader.settle(job.partition, job.offset)
        self._held_bytes -= job.size_bytes
        self._room.set()

    async def _run_event(self, event: AsyncEvent) -> bool:
        """Run the event once and make sure that what follows from it is written. True when it could not run."""
        try:
            target = await self._resolver.resolve(event.function_name, event.qualifier)
        except ResourceNotFoundException:
            ENDED.labels("FunctionDeleted", "no").inc()
            log.warning("event %s is dropped: function %s is gone", event.event_id, event.function_name)
            return False
        except Exception as error:
            _explain(event, error)
            return await self._follow(event, None, policy.after_refusal(event, None, _now_ms()), "registry")
        ended = policy.before_run(event, target, _now_ms())
        if ended is not None:
            return await self._follow(event, target, ended, "")
        try:
            result = await self._invoker.invoke(
                event.function_name,
                event.qualifier,
                Invocation(event.event_id, event.payload, trace=policy.trace_of(event, target)),
                wait_s=CAPACITY_WAIT_S,
            )
        except TooManyRequestsException:
            return await self._follow(event, target, policy.after_refusal(event, target.event_invoke, _now_ms()), "throttled")
        except Exception as error:
            _explain(event, error)
            return await self._follow(event, target, policy.after_refusal(event, target.event_invoke, _now_ms()), "platform")
        EXECUTED.labels("error" if result.function_error else "success").inc()
        target = await self._as_it_ran(event, target)
        return await self._follow(event, target, policy.after_result(event, result, target.event_invoke), "")

    async def _as_it_ran(self, event: AsyncEvent, target: InvokeTarget) -> InvokeTarget:
        """The run has made the resolver see any newer revision: what follows it obeys that one's retries and destinations."""
        try:
            return await self._resolver.resolve(event.function_name, event.qualifier)
        except ApiError:
            return target

    async def _follow(self, event: AsyncEvent, target: InvokeTarget | None, decision: policy.Decision, reason: str) -> bool:
        """Write what the decision asks for; returns when Kafka has it. True when the event was put back."""
        match decision:
            case policy.Retry(event=again):
                PUT_BACK.labels("retry").inc()
                await self._delay(self._tiers.retry_delay_s(again.attempts), again)
            case policy.PutBack():
                PUT_BACK.labels(reason).inc()
                await self._put_back(decision)
                return True
            case policy.Ended():
                outcome = policy.outcome_of(event, decision, target, _now_ms()) if target is not None else None
                if outcome is not None:
                    await self._producer.persist(self._names.outcomes, encode(outcome))
                ENDED.labels(decision.condition.value, "yes" if outcome is not None else "no").inc()
        return False

    async def _put_back(self, put_back: policy.PutBack) -> None:
        delay_s = self._tiers.backoff_delay_s(max(0, put_back.event.backoffs - 1))
        if delay_s > put_back.remaining_s:
            # So that its end is told soon after it is due, not up to five minutes late.
            delay_s = self._tiers.longest_within(put_back.remaining_s)
        await self._delay(delay_s, put_back.event)

    async def _delay(self, delay_s: int, event: AsyncEvent) -> None:
        await self._tiers.put(delay_s, self._names.asynchronous, encode(event))

    async def _drain(self) -> None:
        """Give what runs a short time; then cancel it, which tells the workers too."""
        for job in self._admission.spill(float("inf")):
            self._held_bytes -= job.size_bytes
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=DRAIN_S)
        left = list(self._jobs)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_S)


def _explain(event: AsyncEvent, error: Exception) -> None:
    expected = isinstance(error, ApiError | DispatchError | OSError | TimeoutError)
    log.log(logging.INFO if expected else logging.ERROR, "event %s could not run now: %r", event.event_id, error)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
