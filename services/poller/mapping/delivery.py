"""Runs one batch until it is done with: success, or given up under the mapping's limits. No source, no offsets.

Source: "Configuring error handling controls for Kafka event sources" in the Lambda developer guide.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from aiokafka import ConsumerRecord
from prometheus_client import Counter

from services.poller.mapping.kafka_event import EventBuilder
from shared.domain.errors import ApiError, DispatchError, TooManyRequestsException
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.domain.mappings import EventSourceMapping
from shared.events.records import Condition, KafkaBatchInfo, KafkaPartitionInfo, LastAttempt, Outcome

log = logging.getLogger("lambdad.poller.mapping")

DELIVERED = Counter("lambdad_mapping_records_total", "Records of event source mappings that are done with", ["result"])
INVOKED = Counter("lambdad_mapping_invocations_total", "Invocations by event source mappings", ["result"])

RETRY_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
REFUSED_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CAPACITY_WAIT_S = 10.0
RETRIES_WITH_DESTINATION = 10
"""Endless retries are bounded to this number where an on-failure destination waits (see the guide)."""
RESULT_OK = "OK"
RESULT_FAILED = "PROBLEM: Function call failed"


class Invoker(Protocol):
    async def invoke(
        self, function_name: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> InvocationResult: ...


class _ItemIdentifier(msgspec.Struct):
    partition: str
    offset: int


class _ItemFailure(msgspec.Struct):
    itemIdentifier: _ItemIdentifier


class _PartialResponse(msgspec.Struct):
    batchItemFailures: list[_ItemFailure] | None = None


class BatchDelivery:
    """Delivers batches of one mapping.

    on_given_up: writes an outcome durably. on_result: told the text of LastProcessingResult after each invocation.
    """

    def __init__(
        self,
        mapping: EventSourceMapping,
        builder: EventBuilder,
        invoker: Invoker,
        *,
        on_given_up: Callable[[Outcome], Awaitable[None]],
        on_result: Callable[[str], None],
    ) -> None:
        self._mapping = mapping
        self._limits = mapping.error_handling
        self._builder = builder
        self._invoker = invoker
        self._on_given_up = on_given_up
        self._on_result = on_result
        self._retries_max = self._limits.retry_attempts_max
        if self._retries_max < 0 and mapping.on_failure_arn:
            self._retries_max = RETRIES_WITH_DESTINATION

    async def deliver(self, partition_name: str, records: Sequence[ConsumerRecord]) -> None:
        """Returns when every record is done with. Only cancelling ends it earlier: the records are then not settled."""
        batches = [list(records)]
        while batches:
            batches[:1] = await self._run(partition_name, batches[0])

    async def _run(self, partition_name: str, records: list[ConsumerRecord]) -> list[list[ConsumerRecord]]:
        """Run a batch to its end; what is left of it comes back as smaller batches in order."""
        attempts = refusals = 0
        last: LastAttempt | None = None
        request_id = str(uuid.uuid4())
        payload = self._builder.build(partition_name, records)
        if len(payload) > SYNC_PAYLOAD_BYTES_MAX:
            await self._give_up(partition_name, records, payload, request_id, Condition.PAYLOAD_TOO_LARGE, 0, None)
            return []
        while True:
            # What is too old goes alone, also before a first attempt: the rest is still young enough to be tried.
            if expired := self._expired(records):
                return await self._discard_expired(partition_name, records, expired, request_id, attempts)
            try:
                result = await self._invoker.invoke(
                    self._mapping.function_name,
                    self._mapping.qualifier,
                    Invocation(request_id, payload),
                    wait_s=CAPACITY_WAIT_S,
                )
            except Exception as error:
                refusals += 1
                await self._refused(error, refusals)
                continue
            attempts += 1
            failed = self._failed_records(partition_name, records, result)
            INVOKED.labels("error" if result.function_error else "success").inc()
            if not failed:
                DELIVERED.labels("success").inc(len(records))
                self._on_result(RESULT_OK)
                return []
            self._on_result(RESULT_FAILED)
            if len(failed) < len(records):
                DELIVERED.labels("success").inc(len(records) - len(failed))
                await asyncio.sleep(RETRY_BACKOFF_S[0])
                # As recorded for streams: what is left is a batch of its own, with attempts of its own.
                return [failed]
            if self._limits.bisect_on_error and result.function_error and len(records) > 1:
                # A split uses none of the retries, so it comes even where there are none.
                middle = len(records) // 2
                await asyncio.sleep(RETRY_BACKOFF_S[0])
                return [records[:middle], records[middle:]]
            last = LastAttempt(result.executed_version, result.function_error, result.payload)
            if self._retries_max >= 0 and attempts > self._retries_max:
                condition = Condition.RETRY_ATTEMPTS_EXHAUSTED
                await self._give_up(partition_name, records, payload, request_id, condition, attempts, last)
                return []
            await asyncio.sleep(RETRY_BACKOFF_S[min(attempts, len(RETRY_BACKOFF_S)) - 1])
            request_id = str(uuid.uuid4())

    async def _refused(self, error: Exception, refusals: int) -> None:
        """The function could not run: no attempt was used."""
        throttled = isinstance(error, TooManyRequestsException)
        INVOKED.labels("throttled" if throttled else "refused").inc()
        if not throttled:
            level = logging.INFO if isinstance(error, ApiError | DispatchError | OSError | TimeoutError) else logging.ERROR
            log.log(level, "mapping %s could not run its function now: %r", self._mapping.uuid, error)
        if isinstance(error, ApiError):
            self._on_result(RESULT_FAILED)
        await asyncio.sleep(REFUSED_BACKOFF_S[min(refusals, len(REFUSED_BACKOFF_S)) - 1])

    def _failed_records(
        self, partition_name: str, records: list[ConsumerRecord], result: InvocationResult
    ) -> list[ConsumerRecord]:
        """The records that must be tried again, in order."""
        if result.function_error is not None:
            return records
        if not self._limits.report_batch_item_failures or not result.payload:
            return []
        try:
            if not msgspec.json.decode(result.payload):
                return []
            failures = msgspec.json.decode(result.payload, type=_PartialResponse).batchItemFailures
        except msgspec.DecodeError:
            return records
        if not failures:
            return []
        reported = {failure.itemIdentifier.offset for failure in failures}
        known = {record.offset for record in records}
        # An answer about records that were not sent says nothing about those that were: all are tried again.
        if reported - known or any(failure.itemIdentifier.partition != partition_name for failure in failures):
            return records
        return [record for record in records if record.offset in reported]

    def _expired(self, records: list[ConsumerRecord]) -> list[ConsumerRecord]:
        """The records that are older than the mapping allows. One without a timestamp (-1) has no age."""
        if self._limits.record_age_s_max < 0:
            return []
        oldest_ms = time.time_ns() // 1_000_000 - self._limits.record_age_s_max * 1_000
        return [record for record in records if 0 <= record.timestamp < oldest_ms]

    async def _discard_expired(
        self,
        partition_name: str,
        records: list[ConsumerRecord],
        expired: list[ConsumerRecord],
        request_id: str,
        attempts: int,
    ) -> list[list[ConsumerRecord]]:
        """What is left of the batch. The record of it counts one attempt where there was none, as recorded for streams."""
        payload = self._builder.build(partition_name, expired)
        condition = Condition.RECORD_AGE_EXCEEDED
        await self._give_up(partition_name, expired, payload, request_id, condition, max(attempts, 1), None)
        gone = {record.offset for record in expired}
        left = [record for record in records if record.offset not in gone]
        return [left] if left else []

    async def _give_up(
        self,
        partition_name: str,
        records: list[ConsumerRecord],
        payload: bytes,
        request_id: str,
        condition: Condition,
        attempts: int,
        last: LastAttempt | None,
    ) -> None:
        """Records leave without success: told to the on-failure destination if there is one, counted in any case."""
        DELIVERED.labels("given_up" if self._mapping.on_failure_arn else "discarded").inc(len(records))
        log.warning(
            "mapping %s gives up %d records of %s from offset %d: %s",
            self._mapping.uuid,
            len(records),
            partition_name,
            records[0].offset,
            condition.value,
        )
        if not self._mapping.on_failure_arn:
            return
        first, final = records[0], records[-1]
        info = KafkaPartitionInfo(first.offset, final.offset, first.timestamp, final.timestamp)
        await self._on_given_up(
            Outcome(
                event_id=request_id,
                function_arn=self._mapping.function_arn,
                condition=condition,
                attempts=attempts,
                # Over this size it cannot travel; the record that tells of it names the offsets.
                request_payload=payload if len(payload) <= SYNC_PAYLOAD_BYTES_MAX else b"",
                finished_at_ms=time.time_ns() // 1_000_000,
                last=last,
                targets=(self._mapping.on_failure_arn,),
                batch=KafkaBatchInfo(
                    len(records),
                    self._builder.source_arn,
                    self._builder.bootstrap_servers,
                    len(payload),
                    {partition_name: info},
                    self._mapping.uuid,
                ),
            )
        )
