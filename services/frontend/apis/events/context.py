"""The parts that EventBridge's handlers work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.events.errors import no_bus, no_rule
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import Home, home_of
from shared.domain.event_buses import Bus, Rule, bus_name
from shared.events.archive_topics import ArchiveTopics
from shared.events.bus_events import BusEvent
from shared.registry.events import buses, rules
from shared.registry.events.cache import BusCache
from shared.registry.registry import Registry

Reply = dict[str, Any]
Operation = Callable[["EventsContext", Call, Params], Awaitable[Reply | None]]


class EventsContext(msgspec.Struct, frozen=True):
    """buses: this frontend's own cache, told of every change that is made here. put: returns when the events are on every
    in-sync replica, and raises ServiceException when they are not in time."""

    registry: Registry
    buses: BusCache
    topics: ArchiveTopics
    put: Callable[[Sequence[BusEvent]], Awaitable[None]]

    def changed(self, home: Home, bus: str) -> None:
        """Once a change of a bus, or of what belongs to it, is committed."""
        self.buses.forget(home, bus)


def named_bus(call: Call, params: Params, member: str = "EventBusName") -> str:
    """The bus that a request names by its name or ARN. Raises ResourceNotFoundException: of one from elsewhere."""
    given: str | None = params.get(member)
    name = bus_name(given)
    if given and given.startswith("arn:") and home_of(given) != call.home:
        raise no_bus(name)
    return name


async def locked_bus(connection: AsyncConnection, home: Home, name: str) -> Bus:
    """Raises ResourceNotFoundException."""
    bus = await buses.lock(connection, home, name)
    if bus is None:
        raise no_bus(name)
    return bus


async def found_bus(connection: AsyncConnection, home: Home, name: str) -> Bus:
    """Raises ResourceNotFoundException."""
    bus = await buses.find(connection, home, name)
    if bus is None:
        raise no_bus(name)
    return bus


async def found_rule(connection: AsyncConnection, home: Home, bus: str, name: str) -> Rule:
    """Of a bus that there is or is not. Raises ResourceNotFoundException."""
    rule = await rules.find(connection, home, bus, name)
    if rule is None:
        await found_bus(connection, home, bus)
        raise no_rule(bus, name)
    return rule
