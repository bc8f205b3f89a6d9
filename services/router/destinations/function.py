"""Functions as destination: the record becomes the payload of an asynchronous invocation."""

from __future__ import annotations

import time
import uuid

from services.router.destinations import DeliveryError, UndeliverableError, record
from shared.domain.arns import home_of, parse_function_reference
from shared.domain.destinations import is_function_elsewhere
from shared.domain.errors import ServiceException, ValidationException
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.events.queue import AsyncQueue
from shared.events.records import AsyncEvent, Outcome


class FunctionDestination:
    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue

    async def deliver(self, outcome: Outcome, target: str) -> None:
        if is_function_elsewhere(target, home_of(outcome.function_arn)):
            raise UndeliverableError(f"{target} is a function of another account or region")
        try:
            function = parse_function_reference(target)
        except ValidationException as error:
            raise UndeliverableError(f"{target} is no function") from error
        payload = record.invocation_record(outcome)
        if len(payload) > SYNC_PAYLOAD_BYTES_MAX:
            raise UndeliverableError(f"a record of {len(payload)} bytes is too large to invoke a function with")
        event = AsyncEvent(
            # The same for every try, so that a second delivery can be told from a second event.
            event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{outcome.event_id}/{outcome.condition.value}/{target}")),
            function_name=function.name,
            region=function.region or "",
            qualifier=function.qualifier,
            payload=payload,
            accepted_at_ms=time.time_ns() // 1_000_000,
            trace=outcome.trace,
        )
        try:
            await self._queue.enqueue(event)
        except ServiceException as error:
            raise DeliveryError(error.message) from error
