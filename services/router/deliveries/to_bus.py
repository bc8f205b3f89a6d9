"""Event buses as targets: the payload becomes the detail of an event there, which waits for the bus's rules like any other."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable

from services.router.deliveries.contract import DeliveryError, TargetMissingError, UndeliverableError
from shared.domain.arns import Home, home_of
from shared.domain.errors import ServiceException
from shared.domain.event_buses import HOPS_MAX, Bus, bus_name
from shared.events.bus_events import BusEvent, without_blanks
from shared.events.bus_queue import BusQueue
from shared.events.records import BusParameters, Delivery

FindBus = Callable[[Home, str], Awaitable[Bus | None]]


class ToBus:
    """find: a bus by its name, None where there is none; it raises ServiceException. account_id: the cluster's."""

    def __init__(self, queue: BusQueue, find: FindBus, account_id: str) -> None:
        self._queue = queue
        self._find = find
        self._account_id = account_id

    async def deliver(self, delivery: Delivery) -> None:
        parameters = delivery.parameters
        if not isinstance(parameters, BusParameters):
            raise UndeliverableError("nothing says of which source and type it is to be an event")
        if parameters.hops > HOPS_MAX:
            raise UndeliverableError(f"the event has passed {HOPS_MAX} buses: there may be a loop of them", "INVALID_PARAMETER")
        home, name = home_of(delivery.target), bus_name(delivery.target)
        try:
            bus = await self._find(home, name) if home.account_id == self._account_id else None
            if bus is None:
                raise TargetMissingError(f"Event bus {name} does not exist.")
            await self._queue.put([self._event(delivery, parameters, home.region, name, bus.revision)])
        except ServiceException as error:
            raise DeliveryError(error.message) from error

    def _event(self, delivery: Delivery, parameters: BusParameters, region: str, bus: str, revision: int) -> BusEvent:
        """Within its region an event that is passed on keeps its id."""
        now_ms = time.time_ns() // 1_000_000
        kept = parameters.event_id if parameters.region == region else ""
        return BusEvent(
            event_id=kept or str(uuid.uuid5(uuid.NAMESPACE_URL, delivery.delivery_id)),
            bus_account=self._account_id,
            bus_region=region,
            bus=bus,
            source=parameters.source,
            detail_type=parameters.detail_type,
            detail=without_blanks(delivery.payload),
            account=parameters.account or self._account_id,
            region=parameters.region or home_of(delivery.source_arn).region,
            at_ms=parameters.at_ms or now_ms,
            ingested_at_ms=now_ms,
            resources=parameters.resources,
            hops=parameters.hops,
            revision=revision,
            trace=delivery.trace,
        )
