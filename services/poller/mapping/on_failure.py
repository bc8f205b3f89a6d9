"""What becomes of records that are given up: counted, logged, and told to the mapping's on-failure destination if it has
one."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec
from prometheus_client import Counter

from services.poller.mapping.contract import Format, LaneName
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.domain.mappings import EventSourceMapping
from shared.events.records import Condition, LastAttempt, Outcome

log = logging.getLogger("lambdad.poller.mapping")

R = TypeVar("R")

DELIVERED = Counter("lambdad_mapping_records_total", "Records of event source mappings that are done with", ["result"])


class GivenUp(msgspec.Struct, frozen=True):
    """Why records are given up. payload: their event. attempts, last: of the function; None when it never ran for them."""

    condition: Condition
    request_id: str
    payload: bytes
    attempts: int
    last: LastAttempt | None = None


class OnFailure(Generic[R]):
    """Of one mapping. tell: writes an outcome durably."""

    def __init__(
        self, mapping: EventSourceMapping, record_format: Format[R], tell: Callable[[Outcome], Awaitable[None]]
    ) -> None:
        self._mapping = mapping
        self._format = record_format
        self._tell = tell

    async def give_up(self, lane: LaneName, records: Sequence[R], why: GivenUp) -> None:
        """Returns when it is durable that the records are given up: then they may be settled. Raises what `tell` raises."""
        DELIVERED.labels("given_up" if self._mapping.on_failure_arn else "discarded").inc(len(records))
        log.warning(
            "mapping %s gives up %d records of %s, the first %s: %s",
            self._mapping.uuid,
            len(records),
            lane,
            self._format.item_id(lane, records[0]),
            why.condition.value,
        )
        if not self._mapping.on_failure_arn:
            return
        await self._tell(
            Outcome(
                event_id=why.request_id,
                function_arn=self._mapping.function_arn,
                condition=why.condition,
                attempts=why.attempts,
                # Over this size it cannot travel; the record that tells of it names where the records are.
                request_payload=why.payload if len(why.payload) <= SYNC_PAYLOAD_BYTES_MAX else b"",
                finished_at_ms=time.time_ns() // 1_000_000,
                last=why.last,
                targets=(self._mapping.on_failure_arn,),
                batch=self._format.batch_info(lane, records, len(why.payload)),
            )
        )
