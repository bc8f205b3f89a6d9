"""What the ledger is told of an event: of its end, of its wait, and of a run that takes long.

An event's offset is settled once the ledger's topic has what is told of it, never before: whatever this process loses is run,
and told, again by the partition's next owner. So no event stays as it was last told of, and none is missing.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

from aiokafka import TopicPartition

from services.poller import decisions
from shared.events.records import AsyncEvent, Condition
from shared.ledger.errors import error_line
from shared.ledger.records import Status, StepKind
from shared.ledger.writer import LedgerWriter, OnWritten

DELETED = "FunctionDeleted"
CANCELLED = "Cancelled"
BUSY = "busy"
_STATUSES = {Condition.SUCCESS: Status.SUCCEEDED, Condition.RETRIES_EXHAUSTED: Status.FAILED}


class Reader(Protocol):
    def settle(self, partition: TopicPartition, offset: int) -> None: ...


class Run(Protocol):
    """`services.poller.async_queue.EventRun`. started_s: of time.monotonic(), 0.0 for one that was not started. ended_at_ms:
    Unix time, 0 for one that has not ended."""

    @property
    def reader(self) -> Reader: ...
    @property
    def event(self) -> AsyncEvent: ...
    @property
    def function_arn(self) -> str: ...
    @property
    def partition(self) -> TopicPartition: ...
    @property
    def offset(self) -> int: ...
    @property
    def started_s(self) -> float: ...
    @property
    def ended_at_ms(self) -> int: ...


class Teller:
    """Of one poller's events."""

    def __init__(self, ledger: LedgerWriter) -> None:
        self._ledger = ledger

    def succeeded(self, run: Run, version: str) -> None:
        """What most events come to: all there is to say, in one entry. Its offset is settled when that is written."""
        now_ms = _now_ms()
        event = run.event
        self._ledger.event(
            run.function_arn,
            event.event_id,
            event.qualifier,
            Status.SUCCEEDED,
            event.accepted_at_ms,
            now_ms,
            run.partition.partition,
            run.offset,
            event.attempts + 1,
            now_ms - int((time.monotonic() - run.started_s) * 1_000),
            version,
            on_written=_settle(run),
        )

    def running(self, run: Run) -> None:
        """It runs for longer than most do."""
        self._tell(run, Status.RUNNING, run.event.attempts, ran=True)

    def ended(self, run: Run, ended: decisions.Ended) -> None:
        """Its end, with an outcome or without. Its offset is settled when that is written."""
        last = ended.last
        error = "" if last is None or last.function_error is None else error_line(last.payload)
        version = "" if last is None else last.executed_version
        if ended.condition is Condition.RETRIES_EXHAUSTED and last is not None:
            self._failed_attempt(run, version, error)
        self._tell(
            run,
            _STATUSES.get(ended.condition, Status.DISCARDED),
            ended.attempts,
            ran=ended.attempts > run.event.attempts,
            version=version,
            reason="" if ended.condition is Condition.SUCCESS else ended.condition.value,
            error=error,
            on_written=_settle(run),
        )

    def dropped(self, run: Run, reason: str, error: str = "") -> None:
        """Its end without having been run: DELETED or CANCELLED. Its offset is settled when that is written."""
        status = Status.CANCELLED if reason == CANCELLED else Status.DISCARDED
        self._tell(run, status, run.event.attempts, reason=reason, error=error, on_written=_settle(run))

    def retries(self, run: Run, again: AsyncEvent, delay_s: float) -> None:
        """An attempt failed; the next one is due. The offset is settled when that is written."""
        last = again.last
        error = "" if last is None else error_line(last.payload)
        version = "" if last is None else last.executed_version
        self._failed_attempt(run, version, error)
        self._tell(
            run,
            Status.RETRYING,
            again.attempts,
            ran=True,
            version=version,
            next_at_ms=_now_ms() + int(delay_s * 1_000),
            error=error,
            on_written=_settle(run),
        )

    def waits(self, run: Run, reason: str, delay_s: float, error: str = "") -> None:
        """It is put back without an attempt. The offset is settled when that is written; one that only waits for its turn, and
        is known to, is not told of again."""
        if reason == BUSY and run.event.backoffs:
            run.reader.settle(run.partition, run.offset)
            return
        if error:
            self._ledger.step(run.event.event_id, StepKind.PUT_BACK, _now_ms(), detail=error)
        self._tell(
            run,
            Status.WAITING,
            run.event.attempts,
            reason=reason,
            next_at_ms=_now_ms() + int(delay_s * 1_000),
            on_written=_settle(run),
        )

    def _failed_attempt(self, run: Run, version: str, error: str) -> None:
        self._ledger.step(
            run.event.event_id, StepKind.ATTEMPT_FAILED, run.ended_at_ms or _now_ms(), target=version, detail=error
        )

    def _tell(
        self,
        run: Run,
        status: Status,
        attempts: int,
        *,
        ran: bool = False,
        version: str = "",
        reason: str = "",
        next_at_ms: int = 0,
        error: str = "",
        on_written: OnWritten | None = None,
    ) -> None:
        """ran: in this attempt; else it did not start either."""
        now_ms = _now_ms()
        event = run.event
        started_at_ms = now_ms - int((time.monotonic() - run.started_s) * 1_000) if ran else 0
        self._ledger.event(
            run.function_arn,
            event.event_id,
            event.qualifier,
            status,
            event.accepted_at_ms,
            run.ended_at_ms or now_ms,
            run.partition.partition,
            run.offset,
            attempts,
            started_at_ms,
            version,
            reason,
            next_at_ms,
            error,
            on_written=on_written,
        )


def _settle(run: Run) -> OnWritten:
    return partial(run.reader.settle, run.partition, run.offset)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
