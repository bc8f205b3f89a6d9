"""Runs one batch until nothing more is to be done with it here: it succeeded, was given up under the mapping's limits, or goes
back to a source that redelivers. No lanes, no settling.

Source: "Configuring error handling controls for Kafka event sources" in the Lambda developer guide, and its counterparts for
streams and queues.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter

from services.poller.decisions import response_lost
from services.poller.mapping.contract import Format, LaneName, SourceTraits
from services.poller.mapping.on_failure import DELIVERED, GivenUp, OnFailure
from services.poller.mapping.partial_responses import PartialResponses
from shared.domain import lineage
from shared.domain.arns import LATEST
from shared.domain.errors import (
    ApiError,
    DispatchError,
    RecursiveInvocationException,
    ResponseLostError,
    TooManyRequestsException,
)
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.domain.mappings import EventSourceMapping
from shared.events.records import Condition, LastAttempt
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.mapping")

R = TypeVar("R")

INVOKED = Counter("lambdad_mapping_invocations_total", "Invocations by event source mappings", ["result"])

RETRY_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
REFUSED_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
REFUSALS_BEFORE_GIVING_BACK = 3
"""A function that cannot run now is tried so often before a batch goes back to a source that redelivers."""
CAPACITY_WAIT_S = 10.0
ATTEMPT_MARGIN_S = 10.0
RETRIES_WITH_DESTINATION = 10
"""Endless retries are bounded to this number where an on-failure destination waits (see the guide)."""
RESULT_OK = "OK"
RESULT_FAILED = "PROBLEM: Function call failed"


def attempt_s_max(settings: Settings) -> float:
    """How long one attempt to run a batch may take: until there is room for it, and then as long as any function may run."""
    return CAPACITY_WAIT_S + settings.functions.timeout_s_max + ATTEMPT_MARGIN_S


class Invoker(Protocol):
    async def invoke(
        self, function_arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> InvocationResult: ...


class BatchDelivery(Generic[R]):
    """Delivers batches of one mapping.

    on_result: told the text of LastProcessingResult after each invocation. pause: waits before the next attempt, so many
    seconds or longer.
    """

    def __init__(
        self,
        mapping: EventSourceMapping,
        traits: SourceTraits,
        record_format: Format[R],
        invoker: Invoker,
        on_failure: OnFailure[R],
        *,
        on_result: Callable[[str], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mapping = mapping
        self._limits = mapping.error_handling
        self._redelivers = traits.redelivers
        self._format = record_format
        self._invoker = invoker
        self._on_failure = on_failure
        self._on_result = on_result
        self._pause = pause
        self._partial = PartialResponses(record_format, from_first=traits.fails_from_first)
        self._retries_max = self._limits.retry_attempts_max
        if self._retries_max < 0 and mapping.on_failure_arn:
            self._retries_max = RETRIES_WITH_DESTINATION

    async def deliver(self, lane: LaneName, records: Sequence[R]) -> list[R]:
        """Returns when nothing more is to be done here. The records that are not done with and go back to their source: none
        but of sources that redeliver. Cancelled or failing in between, nothing is known to be done with."""
        if self._redelivers:
            return await self._run_once(lane, list(records))
        batches = [list(records)]
        while batches:
            batches[:1] = await self._run(lane, batches[0])
        return []

    async def _run_once(self, lane: LaneName, records: list[R]) -> list[R]:
        """One attempt: how often records are tried is their source's affair."""
        payload = self._format.event(lane, records)
        if len(payload) > SYNC_PAYLOAD_BYTES_MAX:
            log.warning("mapping %s: %d records of %s do not fit into an event", self._mapping.uuid, len(records), lane)
            return records
        for refusals in range(1, REFUSALS_BEFORE_GIVING_BACK + 1):
            try:
                result = await self._invoke(str(uuid.uuid4()), payload, records)
            except RecursiveInvocationException as error:
                # Its source ends it, by how often it gives a message at most.
                self._stopped(error)
                return records
            except Exception as error:
                await self._refused(error, refusals)
                continue
            return self._note(lane, records, result)
        return records

    async def _run(self, lane: LaneName, records: list[R]) -> list[list[R]]:
        """Run a batch to its end; what is left of it comes back as smaller batches in order."""
        attempts = refusals = 0
        request_id = str(uuid.uuid4())
        payload = self._format.event(lane, records)
        if len(payload) > SYNC_PAYLOAD_BYTES_MAX:
            await self._on_failure.give_up(lane, records, GivenUp(Condition.PAYLOAD_TOO_LARGE, request_id, payload, 0))
            return []
        while True:
            # What is too old goes alone, also before a first attempt: the rest is still young enough to be tried.
            if expired := self._expired(records):
                return await self._discard_expired(lane, records, expired, request_id, attempts)
            try:
                result = await self._invoke(request_id, payload, records)
            except RecursiveInvocationException as error:
                self._stopped(error)
                why = GivenUp(Condition.RECURSIVE_INVOCATION, request_id, payload, attempts)
                await self._on_failure.give_up(lane, records, why)
                return []
            except Exception as error:
                refusals += 1
                await self._refused(error, refusals)
                continue
            attempts += 1
            failed = self._note(lane, records, result)
            if not failed:
                return []
            if len(failed) < len(records):
                await self._pause(RETRY_BACKOFF_S[0])
                # As recorded for streams: what is left is a batch of its own, with attempts of its own.
                return [failed]
            if self._limits.bisect_on_error and result.function_error and len(records) > 1:
                # A split uses none of the retries, so it comes even where there are none.
                middle = len(records) // 2
                await self._pause(RETRY_BACKOFF_S[0])
                return [records[:middle], records[middle:]]
            if self._retries_max >= 0 and attempts > self._retries_max:
                last = LastAttempt(result.executed_version, result.function_error, result.payload)
                why = GivenUp(Condition.RETRY_ATTEMPTS_EXHAUSTED, request_id, payload, attempts, last)
                await self._on_failure.give_up(lane, records, why)
                return []
            await self._pause(RETRY_BACKOFF_S[min(attempts, len(RETRY_BACKOFF_S)) - 1])
            request_id = str(uuid.uuid4())

    async def _invoke(self, request_id: str, payload: bytes, records: list[R]) -> InvocationResult:
        mapping = self._mapping
        invocation = Invocation(request_id, payload, trace=self._trace(records))
        try:
            return await self._invoker.invoke(mapping.unqualified_arn, mapping.qualifier, invocation, wait_s=CAPACITY_WAIT_S)
        except ResponseLostError:
            # It ran: an attempt that failed, like any other.
            return response_lost(mapping.qualifier or LATEST)

    def _trace(self, records: list[R]) -> str | None:
        """Of the record to which the longest chain of runs of this function led."""
        traces = self._format.traces(records)
        return max(traces, key=lambda trace: lineage.runs(trace, self._mapping.unqualified_arn), default=None)

    def _stopped(self, error: RecursiveInvocationException) -> None:
        INVOKED.labels("recursive").inc()
        log.warning("mapping %s does not run its function in a loop: %s", self._mapping.uuid, error)
        self._on_result(RESULT_FAILED)

    async def _refused(self, error: Exception, refusals: int) -> None:
        """The function could not run: no attempt was used."""
        throttled = isinstance(error, TooManyRequestsException)
        INVOKED.labels("throttled" if throttled else "refused").inc()
        if not throttled:
            level = logging.INFO if isinstance(error, ApiError | DispatchError | OSError | TimeoutError) else logging.ERROR
            log.log(level, "mapping %s could not run its function now: %r", self._mapping.uuid, error)
        if isinstance(error, ApiError):
            self._on_result(RESULT_FAILED)
        await self._pause(REFUSED_BACKOFF_S[min(refusals, len(REFUSED_BACKOFF_S)) - 1])

    def _note(self, lane: LaneName, records: list[R], result: InvocationResult) -> list[R]:
        """The records that a run leaves to be tried again, in order; the others succeeded and are counted."""
        if result.function_error is not None:
            failed = records
        elif self._limits.report_batch_item_failures:
            failed = self._partial.failed(lane, records, result.payload)
        else:
            failed = []
        INVOKED.labels("error" if result.function_error else "success").inc()
        if len(failed) < len(records):
            DELIVERED.labels("success").inc(len(records) - len(failed))
        self._on_result(RESULT_FAILED if failed else RESULT_OK)
        return failed

    def _expired(self, records: list[R]) -> list[R]:
        """The records that are older than the mapping allows."""
        if self._limits.record_age_s_max < 0:
            return []
        oldest_ms = time.time_ns() // 1_000_000 - self._limits.record_age_s_max * 1_000
        return [record for record in records if 0 <= self._format.timestamp_ms(record) < oldest_ms]

    async def _discard_expired(
        self, lane: LaneName, records: list[R], expired: list[R], request_id: str, attempts: int
    ) -> list[list[R]]:
        """What is left of the batch. The record of it counts one attempt where there was none, as recorded for streams."""
        payload = self._format.event(lane, expired)
        why = GivenUp(Condition.RECORD_AGE_EXCEEDED, request_id, payload, max(attempts, 1))
        await self._on_failure.give_up(lane, expired, why)
        gone = set(map(id, expired))
        left = [record for record in records if id(record) not in gone]
        return [left] if left else []
