"""API destinations of EventBridge as targets: a request to their address, authorized by their connection.

Source: "API destinations as targets in EventBridge": five seconds a request, which answers are tried again, Retry-After.
"""

from __future__ import annotations

import asyncio
import math
import time

import msgspec

from services.router.deliveries.api_destinations.invocation import invocation_of, rights_of
from services.router.deliveries.api_destinations.rates import Rates
from services.router.deliveries.api_destinations.tokens import Tokens
from services.router.deliveries.contract import DeliveryError, TargetBusyError, TargetMissingError, UndeliverableError
from services.router.deliveries.http_requests import HttpAnswer, HttpRequests
from shared.domain.errors import ServiceException
from shared.events.records import ApiDestinationParameters, Delivery
from shared.registry.events import connections
from shared.registry.events.connections import AUTHORIZED, OAUTH, ApiDestination, EventConnection
from shared.registry.registry import Registry

TIMEOUT_S = 5.0
FRESH_S = 1.0
"""So long what was read of a destination is used."""
KEPT_MAX = 1_000
WAITED_S_MAX = 1.0
"""So long a delivery waits here for its turn; who would have to wait longer comes back later."""
UNAUTHORIZED = frozenset({401, 407})
RETRIED = frozenset({409, 429}) | UNAUTHORIZED
"""Of the answers below 500."""


class _Known(msgspec.Struct, frozen=True):
    destination: ApiDestination
    connection: EventConnection
    until: float


class ToApiDestination:
    def __init__(self, registry: Registry, account_id: str, requests: HttpRequests, tokens: Tokens) -> None:
        self._registry = registry
        self._account_id = account_id
        self._requests = requests
        self._tokens = tokens
        self._rates = Rates(time.monotonic)
        self._known: dict[str, _Known] = {}

    async def deliver(self, delivery: Delivery) -> None:
        known = await self._find(delivery.target)
        connection, settings = known.connection, known.destination.settings
        given = delivery.parameters
        await self._take_turn(delivery.target, int(settings["InvocationRateLimitPerSecond"]))
        request = invocation_of(
            settings,
            connection.auth,
            await self._rights(connection),
            given if isinstance(given, ApiDestinationParameters) else ApiDestinationParameters(),
            delivery.payload,
        )
        answer = await self._requests.send(request.method, request.url, request.headers, request.body, TIMEOUT_S)
        if 200 <= answer.status < 300:
            return
        if answer.status in UNAUTHORIZED:
            self._tokens.forget(connection)
        told = f"{settings['InvocationEndpoint']} answered {answer.status}"
        if answer.status < 500 and answer.status not in RETRIED:
            raise UndeliverableError(told)
        after_s = _retry_after_s(answer)
        if after_s < 0:
            raise UndeliverableError(told)
        raise DeliveryError(told, after_s=after_s)

    async def _find(self, arn: str) -> _Known:
        """Raises DeliveryError, TargetMissingError."""
        known = self._known.get(arn)
        if known is not None and known.until > time.monotonic():
            return known
        until = time.monotonic() + FRESH_S
        try:
            async with self._registry.read() as read:
                destination = await connections.destination_of(read, self._account_id, arn)
                if destination is None:
                    raise TargetMissingError(f"there is no API destination {arn}")
                connection = await connections.connection_of(read, self._account_id, destination.settings["ConnectionArn"])
        except ServiceException as error:
            raise DeliveryError(error.message) from error
        if connection is None:
            raise TargetMissingError(f"there is no connection {destination.settings['ConnectionArn']}")
        known = _Known(destination, connection, until)
        self._known.pop(arn, None)
        self._known[arn] = known
        while len(self._known) > KEPT_MAX:
            self._known.pop(next(iter(self._known)))
        return known

    async def _take_turn(self, target: str, per_second: int) -> None:
        """Raises TargetBusyError."""
        end = time.monotonic() + WAITED_S_MAX
        while (pause_s := self._rates.take(target, per_second)) > 0:
            if time.monotonic() + pause_s > end:
                raise TargetBusyError(f"{target} takes no more than {per_second} a second")
            await asyncio.sleep(pause_s)

    async def _rights(self, connection: EventConnection) -> list[tuple[str, str]]:
        """Raises DeliveryError."""
        if connection.state != AUTHORIZED and not (connection.kind == OAUTH and connection.has_secrets):
            raise DeliveryError(f"the connection {connection.name} is {connection.state}")
        if connection.kind == OAUTH:
            return [("Authorization", f"Bearer {await self._tokens.of(connection)}")]
        return rights_of(connection.kind, connection.auth)


def _retry_after_s(answer: HttpAnswer) -> float:
    """What an answer asks for, in seconds; a negative number asks for no other try."""
    try:
        found = float(answer.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0
