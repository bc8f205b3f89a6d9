"""Functions as targets: the payload becomes that of an asynchronous invocation."""

from __future__ import annotations

import time
import uuid

from services.router.deliveries.contract import DeliveryError, TargetMissingError, UndeliverableError
from services.router.deliveries.handing_over import HandingOver
from shared.dispatch.client.invoker import TargetResolver
from shared.domain.arns import home_of, parse_function_reference
from shared.domain.destinations import is_function_elsewhere
from shared.domain.errors import (
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
    ValidationException,
)
from shared.domain.limits import ASYNC_PAYLOAD_BYTES_MAX
from shared.events.queue import AsyncQueue
from shared.events.records import AsyncEvent, Behalf, Delivery


class ToFunction:
    """resolver: knows which functions there are, as they are asked for when somebody invokes them."""

    def __init__(self, resolver: TargetResolver, queue: AsyncQueue, handing_over: HandingOver) -> None:
        self._resolver = resolver
        self._queue = queue
        self._handing_over = handing_over

    async def deliver(self, delivery: Delivery) -> None:
        if delivery.behalf is Behalf.LAMBDA and is_function_elsewhere(delivery.target, home_of(delivery.source_arn)):
            raise TargetMissingError(f"{delivery.target} is a function of another account or region")
        try:
            function = parse_function_reference(delivery.target)
        except ValidationException as error:
            raise UndeliverableError(f"{delivery.target} is no function") from error
        if len(delivery.payload) > ASYNC_PAYLOAD_BYTES_MAX:
            raise UndeliverableError(f"{len(delivery.payload)} bytes are too large to invoke a function with")
        await self._find(":".join(delivery.target.split(":")[:7]), function.qualifier)
        event = AsyncEvent(
            # The same for every try, so that a second delivery can be told from a second event.
            event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, delivery.delivery_id)),
            function_name=function.name,
            region=function.region or "",
            qualifier=function.qualifier,
            payload=delivery.payload,
            accepted_at_ms=time.time_ns() // 1_000_000,
            trace=delivery.trace,
        )
        try:
            await self._handing_over.once(event.event_id, lambda: self._queue.enqueue(event))
        except ServiceException as error:
            raise DeliveryError(error.message) from error

    async def _find(self, function_arn: str, qualifier: str | None) -> None:
        """Raises DeliveryError or TargetMissingError."""
        try:
            await self._resolver.resolve(function_arn, qualifier)
        except ResourceNotFoundException as error:
            raise TargetMissingError(error.message) from error
        except (ResourceConflictException, ServiceException) as error:
            raise DeliveryError(error.message) from error
