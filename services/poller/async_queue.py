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
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

import msgspec
from aiokafka import TopicPartition
from prometheus_client import Counter, Gauge

from services.poller import policy
from services.poller.admission import Admission, Ran
from shared.dispatch.client import OnInvoked
from shared.dispatch.connection import InvocationRefusedError
from shared.domain.errors import ApiError, DispatchError, ResourceNotFoundException, ResponseLostError, TooManyRequestsException
from shared.domain.functions import EventInvokeConfig, InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.records import AsyncEvent, Condition, RecordError, decode_event, encode
from shared.events.supervision import run_until
from shared.events.tiers import DelayTiers
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.async")

EXECUTED = Counter("lambdad_async_executed_total", "Attempts of asynchronous events that the function answered", ["result"])
PUT_BACK = Counter("lambdad_async_put_back_total", "Asynchronous events put into a delay tier", ["reason"])
ENDED = Counter("lambdad_async_ended_total", "Asynchronous events that ended", ["condition", "kept"])
SUCCEEDED, ENDED_WELL = EXECUTED.labels("success"), ENDED.labels(Condition.SUCCESS.value, "no")
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
REFILL_PART = 0.75
"""When all that may be held was held, fetching goes on from this part of it: fetching for every event that ends costs more."""
DRAIN_S = 4.0
CANCEL_S = 1.0


class Resolver(Protocol):
    async def resolve(self, function_name: str, qualifier: str | None) -> InvokeTarget: ...

    def cached(self, function_name: str, qualifier: str | None) -> InvokeTarget | None: ...


class Invoker(Protocol):
    async def invoke(
        self, function_name: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> InvocationResult: ...

    def begin(
        self, function_name: str, qualifier: str | None, invocation: Invocation, on_end: OnInvoked
    ) -> Callable[[], None] | None: ...


class _Job(msgspec.Struct, eq=False):
    """One fetched event. reader: the group membership that its offset is settled with. started_s: of time.monotonic().
    result: how it ran. cancel: while it runs without a task. abandoned: nothing is to come of its end."""

    reader: GroupReader
    partition: TopicPartition
    offset: int
    event: AsyncEvent
    size_bytes: int
    started_s: float = 0.0
    result: InvocationResult | None = None
    cancel: Callable[[], None] | None = None
    abandoned: bool = False


class Begun(NamedTuple):
    """A run without a task that was not all: its result, or why there is none."""

    target: InvokeTarget
    result: InvocationResult | None
    error: Exception | None


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
        self._refill_below = self._held_max * REFILL_PART
        self._admission: Admission[_Job] = Admission(self._running_max)
        IN_FLIGHT.set_function(lambda: self._admission.running)
        self._held_bytes = 0
        self._room = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._direct: set[_Job] = set()
        self._starting = False
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
        if self._starting:
            return  # An event that ended while it was begun: whoever begins events goes on.
        self._starting = True
        try:
            while (chosen := self._admission.next()) is not None:
                _, job = chosen
                job.started_s = time.monotonic()
                if not self._begin(job):
                    self._spawn(self._run_job(job))
        finally:
            self._starting = False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _begin(self, job: _Job) -> bool:
        """Run an event without a task, where all it needs is at hand. False, and nothing done, where it is not."""
        event = job.event
        target = self._resolver.cached(event.function_name, event.qualifier)
        if target is None or policy.before_run(event, target, _now_ms()) is not None:
            return False
        invocation = Invocation(event.event_id, event.payload, trace=policy.trace_of(event, target))

        def on_end(result: InvocationResult | None, error: Exception | None) -> None:
            self._direct.discard(job)
            if job.abandoned:
                return
            if result is not None and self._has_settled(event, target, result):
                job.result = result
                job.reader.settle(job.partition, job.offset)
                self._ended(job, throttled=False)
            else:
                self._spawn(self._run_job(job, Begun(target, result, error)))

        try:
            cancel = self._invoker.begin(event.function_name, event.qualifier, invocation, on_end)
        except Exception as error:
            # Before anything was sent: the long way puts it off.
            _explain(event, error)
            return False
        if cancel is None:
            return False
        job.cancel = cancel
        self._direct.add(job)
        return True

    def _has_settled(self, event: AsyncEvent, target: InvokeTarget, result: InvocationResult) -> bool:
        """Whether a run was all that the event needed: it went well and nobody is to be told."""
        if result.function_error is not None or self._resolver.cached(event.function_name, event.qualifier) is not target:
            return False
        if target.event_invoke.on_success_arn:
            return False
        SUCCEEDED.inc()
        ENDED_WELL.inc()
        return True

    async def _run_job(self, job: _Job, begun: Begun | None = None) -> None:
        throttled = False
        try:
            throttled = await self._run_event(job, begun)
            job.reader.settle(job.partition, job.offset)
        except Exception:
            # Its offset stays unsettled: the next owner of the partition runs it again.
            log.exception("event %s was left unsettled", job.event.event_id)
        finally:
            self._ended(job, throttled=throttled)

    def _ended(self, job: _Job, *, throttled: bool) -> None:
        self._held_bytes -= job.size_bytes
        now, ran = time.monotonic(), None
        if job.result is not None and job.result.init_ms is None:
            ran = Ran(job.result.duration_ms / 1_000, now - job.started_s)
        self._admission.finished(job.event.function_name, now, throttled=throttled, ran=ran)
        if self._admission.held < self._refill_below:
            self._room.set()
        self._start_jobs()

    async def _put_back_waiting(self, job: _Job) -> None:
        PUT_BACK.labels("busy").inc()
        event = msgspec.structs.replace(job.event, backoffs=min(job.event.backoffs + 1, SPILL_BACKOFFS_MAX))
        await self._put_back(policy.PutBack(event, policy.age_left_s(event, EventInvokeConfig(), _now_ms())))
        job.reader.settle(job.partition, job.offset)
        self._held_bytes -= job.size_bytes
        self._room.set()

    async def _run_event(self, job: _Job, begun: Begun | None = None) -> bool:
        """Run the event once and make sure that what follows from it is written. True when it could not run.

        begun: the run, if it was begun already."""
        event = job.event
        try:
            target = begun.target if begun is not None else await self._resolver.resolve(event.function_name, event.qualifier)
        except ResourceNotFoundException:
            ENDED.labels("FunctionDeleted", "no").inc()
            log.warning("event %s is dropped: function %s is gone", event.event_id, event.function_name)
            return False
        except Exception as error:
            _explain(event, error)
            return await self._follow(event, None, policy.after_refusal(event, None, _now_ms()), "registry")
        ended = None if begun is not None else policy.before_run(event, target, _now_ms())
        if ended is not None:
            return await self._follow(event, target, ended, "")
        try:
            result = job.result = await self._result(event, target, begun)
        except ResponseLostError:
            result = policy.response_lost(target)
        except TooManyRequestsException:
            return await self._follow(event, target, policy.after_refusal(event, target.event_invoke, _now_ms()), "throttled")
        except Exception as error:
            _explain(event, error)
            return await self._follow(event, target, policy.after_refusal(event, target.event_invoke, _now_ms()), "platform")
        EXECUTED.labels("error" if result.function_error else "success").inc()
        target = await self._as_it_ran(event, target)
        return await self._follow(event, target, policy.after_result(event, result, target.event_invoke), "")

    async def _result(self, event: AsyncEvent, target: InvokeTarget, begun: Begun | None) -> InvocationResult:
        if begun is not None and begun.result is not None:
            return begun.result
        if begun is not None and begun.error is not None and not isinstance(begun.error, InvocationRefusedError):
            raise begun.error
        invocation = Invocation(event.event_id, event.payload, trace=policy.trace_of(event, target))
        return await self._invoker.invoke(event.function_name, event.qualifier, invocation, wait_s=CAPACITY_WAIT_S)

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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._admission.running:
                    self._room.clear()
                    await self._room.wait()
        for job in list(self._direct):
            if job.cancel is not None:
                job.abandoned = True
                job.cancel()
                self._ended(job, throttled=False)
        self._direct.clear()
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
