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
from collections.abc import Callable
from typing import Protocol

import msgspec
from aiokafka import TopicPartition
from prometheus_client import Counter, Gauge

from services.poller import decisions
from services.poller.admission import Admission, Ran
from services.poller.cancellations import Cancellations
from services.poller.told import BUSY, CANCELLED, DELETED, Teller
from shared.dispatch.client.invoker import Make
from shared.dispatch.client.run import OnEnd
from shared.domain.errors import (
    ApiError,
    CannotRunError,
    DispatchError,
    ResourceConflictException,
    ResourceNotFoundException,
    ResponseLostError,
    ServiceException,
    TooManyRequestsException,
)
from shared.domain.functions import EventInvokeConfig, InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.records import AsyncEvent, Condition, RecordError, decode_event, encode
from shared.events.supervision import run_until
from shared.events.tiers import DelayTiers
from shared.events.topics import TopicNames
from shared.ledger.writer import LedgerWriter
from shared.settings import Settings
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.poller.async")

EXECUTED = Counter("lambdad_async_executed_total", "Attempts of asynchronous events that the function answered", ["result"])
PUT_BACK = Counter("lambdad_async_put_back_total", "Asynchronous events put into a delay tier", ["reason"])
ENDED = Counter("lambdad_async_ended_total", "Asynchronous events that ended", ["condition", "kept"])
SUCCEEDED, ENDED_WELL = EXECUTED.labels("success"), ENDED.labels(Condition.SUCCESS.value, "no")
IN_FLIGHT = Gauge("lambdad_async_in_flight", "Asynchronous events that run now")
UNREADABLE = Counter("lambdad_async_unreadable_total", "Records of the asynchronous topic that could not be read")

THROTTLED = "throttled"
CAPACITY_WAIT_S = 5.0
FETCH_WAIT_S = 5.0
WAITING_FETCH_WAIT_S = 0.5
SPILL_BACKOFFS_MAX = 4
"""Events that only waited for their turn come back soon, when nothing tells when that is: the function has much to do."""
LEAVING_MAX = 2_000
"""Events that are on their way to a delay tier, at most: so many writes that Kafka has not acknowledged."""
HELD_BYTES_MAX = 64 * 1024 * 1024
BEHIND_EVENTS = 100
"""So many that wait here are done with no sooner than the next ones need to come."""
FULL_CHECK_S = 0.25
REFILL_PART = 0.75
"""When all that may be held was held, fetching goes on from this part of it: fetching for every event that ends costs more."""
TOLD_RUNNING_AFTER_S = 1.0
"""The ledger is told of a run only when it takes so long: most have ended by then, and their end is all there is to tell."""
DRAIN_S = 4.0
FLUSH_S = 2.0
CANCEL_S = 1.0


class Invoker(Protocol):
    """`shared.dispatch.client.invoker.FunctionInvoker`."""

    def start_made(
        self, function_arn: str, qualifier: str | None, make: Make, on_end: OnEnd, wait_s: float
    ) -> Callable[[], None]: ...

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget: ...


class _NotRunError(Exception):
    """The event is not to be run at all."""

    def __init__(self, ended: decisions.Ended) -> None:
        super().__init__(ended.condition)
        self.ended = ended


class _CancelledError(Exception):
    """Somebody took the event back before it was run."""


class EventRun:
    """One event from its fetch to its settled offset.

    reader: the group membership that its offset is settled with. target: what its name led to, drawn once for an attempt.
    function_arn: without a qualifier. started_s: of time.monotonic(). own_s: in the function, None where that tells nothing of
    the next event. cancel: ends it while it runs. following: the task that writes what follows from its end. held: it counts
    as fetched and not done with. told: the ledger knows that it runs. ended_at_ms: Unix time, 0 while it has not ended.
    """

    __slots__ = (
        "_poller",
        "cancel",
        "ended_at_ms",
        "event",
        "following",
        "function_arn",
        "held",
        "offset",
        "own_s",
        "partition",
        "reader",
        "size_bytes",
        "started_s",
        "target",
        "told",
    )

    def __init__(
        self,
        poller: AsyncPoller,
        reader: GroupReader,
        partition: TopicPartition,
        offset: int,
        event: AsyncEvent,
        function_arn: str,
        size_bytes: int,
    ) -> None:
        self._poller = poller
        self.reader = reader
        self.partition = partition
        self.offset = offset
        self.event = event
        self.function_arn = function_arn
        self.size_bytes = size_bytes
        self.started_s = 0.0
        self.ended_at_ms = 0
        self.own_s: float | None = None
        self.target: InvokeTarget | None = None
        self.cancel: Callable[[], None] | None = None
        self.following: asyncio.Task[None] | None = None
        self.held = True
        self.told = False

    def make(self, target: InvokeTarget) -> Invocation:
        """Raises _NotRunError, _CancelledError."""
        self.target = target
        event = self.event
        if event.event_id in self._poller.cancelled:
            raise _CancelledError
        ended = decisions.before_run(event, target, _now_ms())
        if ended is not None:
            raise _NotRunError(ended)
        return Invocation(event.event_id, event.payload, trace=decisions.trace_of(event, target))

    def on_end(self, result: InvocationResult | None, error: Exception | None) -> None:
        self.cancel = None
        self._poller.run_ended(self, result, error)


class AsyncPoller:
    """One member of the group that runs asynchronous events."""

    def __init__(self, settings: Settings, invoker: Invoker, producer: BatchingProducer) -> None:
        self._home = settings.home
        self._names = TopicNames.of(settings.events)
        self._invoker = invoker
        self._producer = producer
        self._tiers = DelayTiers(settings.events, producer)
        self._ledger = LedgerWriter(settings, producer)
        self._teller = Teller(self._ledger)
        self._cancellations = Cancellations(settings)
        self.cancelled = self._cancellations.ids
        self._options = ReaderOptions(
            cluster=settings.kafka,
            group_id=self._names.asynchronous,
            client_id=f"{settings.instance or 'poller'}-async",
        )
        self._running_max = settings.events.in_flight_max
        self._held_max = settings.events.in_flight_max * 2
        self._refill_below = self._held_max * REFILL_PART
        self._admission: Admission[EventRun] = Admission(self._running_max, self._held_max)
        IN_FLIGHT.set_function(lambda: self._admission.running)
        self._held_bytes = 0
        self._leaving = 0
        self._room = asyncio.Event()
        self._runs: set[EventRun] = set()
        self._watching: asyncio.TimerHandle | None = None
        self._reader: GroupReader | None = None

    def problem(self) -> str | None:
        """For readiness: None while this poller has its place in the group."""
        return None if self._reader is not None and self._reader.is_ready() else "has no place in the consumer group"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what runs then gets DRAIN_S seconds to end. Raises KafkaError when the group is lost: call again."""
        following = supervise("event-cancellations", self._cancellations.follow)
        try:
            await self._cancellations.loaded()
            async with GroupReader([self._names.asynchronous], self._options) as reader:
                self._reader = reader
                try:
                    await run_until(stop, self._fetch_for_ever(reader))
                finally:
                    await self._drain()
                    self._reader = None
        finally:
            following.cancel()

    async def _fetch_for_ever(self, reader: GroupReader) -> None:
        while True:
            while self._is_full():
                await self._wait_for_room()
            await self._ledger.wait_for_room()
            wait_s = WAITING_FETCH_WAIT_S if self._admission.waiting else FETCH_WAIT_S
            behind = self._admission.waiting >= BEHIND_EVENTS
            for partition, records in (await reader.fetch(wait_s=wait_s, behind=behind)).items():
                for record in records:
                    await self._admit(reader, partition, record.offset, record.value or b"")
            self._admission.grow_slow(time.monotonic())
            self._start_runs()

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
        run = EventRun(self, reader, partition, offset, event, event.function_arn(self._home), len(value))
        if event.event_id in self.cancelled:
            # It needs no turn of its function to end.
            if event.backoffs:
                self._admission.ended_away(run.function_arn)
            ENDED.labels(CANCELLED, "no").inc()
            self._teller.dropped(run, CANCELLED)
            return
        self._held_bytes += len(value)
        if not self._admission.offer(run.function_arn, run, time.monotonic(), returned=event.backoffs > 0):
            self._send_away(run)

    def _is_full(self) -> bool:
        held = self._admission.held >= self._held_max or self._held_bytes >= HELD_BYTES_MAX
        return held or self._leaving >= LEAVING_MAX

    def _send_away(self, run: EventRun) -> None:
        """To wait for its turn where it is in nobody's way."""
        self._runs.add(run)
        self._leaving += 1
        turn_in_s = self._admission.turn_in_s(run.function_arn, time.monotonic())
        run.following = asyncio.create_task(self._put_back_waiting(run, turn_in_s))

    async def _wait_for_room(self) -> None:
        """Until something ended. Where there is no room left, what does not get its turn soon is moved to a delay tier."""
        self._room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FULL_CHECK_S):
                await self._room.wait()
        self._admission.grow_slow(time.monotonic())
        self._start_runs()
        if self._admission.held >= self._held_max or self._held_bytes >= HELD_BYTES_MAX:
            for _, run in self._admission.spill(time.monotonic()):
                self._send_away(run)

    def _start_runs(self) -> None:
        while (chosen := self._admission.next()) is not None:
            _, run = chosen
            run.started_s = time.monotonic()
            self._runs.add(run)
            if self._watching is None:
                self._watching = asyncio.get_running_loop().call_later(TOLD_RUNNING_AFTER_S, self._tell_of_long_runs)
            run.cancel = self._invoker.start_made(run.function_arn, run.event.qualifier, run.make, run.on_end, CAPACITY_WAIT_S)

    def _tell_of_long_runs(self) -> None:
        self._watching = None
        if not self._runs:
            return
        since = time.monotonic() - TOLD_RUNNING_AFTER_S
        for run in self._runs:
            if not run.told and run.cancel is not None and run.started_s < since:
                run.told = True
                self._teller.running(run)
        self._watching = asyncio.get_running_loop().call_later(TOLD_RUNNING_AFTER_S, self._tell_of_long_runs)

    def run_ended(self, run: EventRun, result: InvocationResult | None, error: Exception | None) -> None:
        """One that was started has ended, or cannot run."""
        if not run.held:
            return
        if result is not None and result.init_ms is None:
            run.own_s = result.duration_ms / 1_000
        if result is None or result.function_error is not None or run.target is None or run.target.event_invoke.on_success_arn:
            run.ended_at_ms = _now_ms()
            run.following = asyncio.create_task(self._follow_end(run, result, error))
            return
        # It went well and nobody is to be told: what most events come to.
        SUCCEEDED.inc()
        ENDED_WELL.inc()
        try:
            self._teller.succeeded(run, result.executed_version)
        finally:
            self._release(run, throttled=False)

    async def _follow_end(self, run: EventRun, result: InvocationResult | None, error: Exception | None) -> None:
        """Make sure that what follows from an end is written, and settle the event."""
        throttled = False
        try:
            decision, reason = self._decide(run, result, error)
            if reason == DELETED and isinstance(error, ResourceNotFoundException):
                throttled = await self._follow_deletion(run, error)
            elif decision is None:
                self._teller.dropped(run, reason)
            else:
                throttled = await self._follow(run, decision, reason, error)
        except Exception:
            # Its offset stays unsettled: the next owner of the partition runs it again.
            log.exception("event %s was left unsettled", run.event.event_id)
        finally:
            self._release(run, throttled=throttled)

    def _decide(
        self, run: EventRun, result: InvocationResult | None, error: Exception | None
    ) -> tuple[decisions.Decision | None, str]:
        """What follows, None for nothing; and why the event is put back or dropped, if it is."""
        event, target = run.event, run.target
        if isinstance(error, _NotRunError):
            return error.ended, ""
        if isinstance(error, ResourceNotFoundException):
            return None, DELETED
        if isinstance(error, _CancelledError):
            ENDED.labels(CANCELLED, "no").inc()
            return None, CANCELLED
        if target is not None and isinstance(error, CannotRunError):
            log.warning("event %s of %s ends: %s", event.event_id, run.function_arn, error)
            return decisions.after_unrunnable(event, target, error), ""
        if target is not None and isinstance(error, ResponseLostError):
            result = decisions.response_lost(target.spec.version)
        if target is not None and result is not None:
            EXECUTED.labels("error" if result.function_error else "success").inc()
            return decisions.after_result(event, result, target.event_invoke), ""
        if target is not None and isinstance(error, TooManyRequestsException):
            return decisions.after_throttle(event, target, _now_ms()), THROTTLED
        _explain(event, error)
        if target is not None:
            return decisions.after_refusal(event, target.event_invoke, _now_ms()), "platform"
        # Where nobody can be asked it waits; a function that cannot be had although its registry answers is given up in time.
        away = isinstance(error, ServiceException | OSError | TimeoutError)
        return decisions.after_refusal(event, None if away else EventInvokeConfig(), _now_ms()), "registry"

    def _release(self, run: EventRun, *, throttled: bool) -> None:
        """Nothing more is done for it here; it is counted out once, whatever ended it."""
        if not run.held:
            return
        run.held = False
        self._runs.discard(run)
        self._held_bytes -= run.size_bytes
        if run.started_s:
            now = time.monotonic()
            ran = None if run.own_s is None else Ran(run.own_s, now - run.started_s)
            self._admission.finished(run.function_arn, now, throttled=throttled, ran=ran)
        if self._admission.held < self._refill_below and self._leaving < LEAVING_MAX:
            self._room.set()
        self._start_runs()

    async def _put_back_waiting(self, run: EventRun, turn_in_s: float | None) -> None:
        """turn_in_s: when it is its turn; None where that is not known."""
        try:
            PUT_BACK.labels(BUSY).inc()
            event = msgspec.structs.replace(run.event, backoffs=min(run.event.backoffs + 1, SPILL_BACKOFFS_MAX))
            if turn_in_s is None:
                put_back = decisions.PutBack(event, decisions.age_left_s(event, EventInvokeConfig(), _now_ms()))
                delay_s = await self._put_back(put_back)
            else:
                delay_s = self._tiers.longest_within(turn_in_s)
                await self._delay(delay_s, event)
            self._teller.waits(run, BUSY, delay_s)
        except Exception:
            log.exception("event %s was left unsettled", run.event.event_id)
        finally:
            self._leaving -= 1
            self._release(run, throttled=False)

    async def _follow(self, run: EventRun, decision: decisions.Decision, reason: str, error: Exception | None) -> bool:
        """Write what the decision asks for; returns when Kafka has it, but for what the ledger is told. True when the event was
        put back."""
        event, target = run.event, run.target
        match decision:
            case decisions.Retry(event=again):
                PUT_BACK.labels("retry").inc()
                delay_s = self._tiers.retry_delay_s(again.attempts)
                await self._delay(delay_s, again)
                self._teller.retries(run, again, delay_s)
            case decisions.PutBack():
                PUT_BACK.labels(reason).inc()
                delay_s = await self._put_back(decision)
                self._teller.waits(run, reason, delay_s, "" if reason == THROTTLED else repr(error))
                return True
            case decisions.Ended():
                outcome = decisions.outcome_of(event, decision, target, _now_ms()) if target is not None else None
                if outcome is not None:
                    await self._producer.persist(self._names.outcomes, encode(outcome))
                ENDED.labels(decision.condition.value, "yes" if outcome is not None else "no").inc()
                self._teller.ended(run, decision)
        return False

    async def _follow_deletion(self, run: EventRun, error: ResourceNotFoundException) -> bool:
        """What was to be run is gone: dropped, but for what the dead-letter queue of a function gets that only lost the version
        or alias. True when the event was put back, for nobody could be asked."""
        event, outcome = run.event, None
        if event.qualifier is not None:
            try:
                function = await self._invoker.resolve(run.function_arn, None)
                outcome = decisions.after_deletion(event, function, error, _now_ms())
            except (ResourceNotFoundException, ResourceConflictException):
                pass
            except ServiceException as away:
                return await self._follow(run, decisions.after_refusal(event, None, _now_ms()), "registry", away)
        if outcome is not None:
            await self._producer.persist(self._names.outcomes, encode(outcome))
        ENDED.labels(DELETED, "no" if outcome is None else "yes").inc()
        log.warning("event %s ends: %s", event.event_id, error.message)
        self._teller.dropped(run, DELETED, error.message)
        return False

    async def _put_back(self, put_back: decisions.PutBack) -> int:
        """-> the delay in seconds, once Kafka has it."""
        delay_s = self._tiers.backoff_delay_s(max(0, put_back.event.backoffs - 1))
        if delay_s > put_back.remaining_s:
            # So that its end is told soon after it is due, not up to five minutes late.
            delay_s = self._tiers.longest_within(put_back.remaining_s)
        await self._delay(delay_s, put_back.event)
        return delay_s

    async def _delay(self, delay_s: int, event: AsyncEvent) -> None:
        await self._tiers.put(delay_s, self._names.asynchronous, encode(event))

    async def _drain(self) -> None:
        """Give what runs a short time; then cancel it, which tells the workers too."""
        for run in self._admission.clear():
            self._release(run, throttled=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._runs:
                    self._room.clear()
                    await self._room.wait()
        following = [run.following for run in self._runs if run.following is not None]
        for run in self._runs:
            if run.cancel is not None:
                run.cancel()
        for task in following:
            task.cancel()
        if following:
            await asyncio.wait(following, timeout=CANCEL_S)
        for run in list(self._runs):
            self._release(run, throttled=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._ledger.flush()


def _explain(event: AsyncEvent, error: Exception | None) -> None:
    expected = isinstance(error, ApiError | DispatchError | OSError | TimeoutError)
    log.log(logging.INFO if expected else logging.ERROR, "event %s could not run now: %r", event.event_id, error)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
