"""Authorizes connections by OAuth: asks the server that each names for a first token, and says whether it got one.

Two routers may ask for the same connection: the one that is told first counts, and nothing comes of the other's token.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from services.router.deliveries.api_destinations.tokens import Tokens
from services.router.deliveries.contract import DeliveryError
from shared.registry.events import connections
from shared.registry.events.connections import AUTHORIZED, DEAUTHORIZED, EventConnection
from shared.registry.registry import Registry

log = logging.getLogger("lambdad.router")

LOOK_EVERY_S = 1.0
REASON_CHARACTERS_MAX = 512


class Authorizer:
    """after_s: so long a connection is seen waiting, as at AWS, before anybody is asked."""

    def __init__(self, registry: Registry, account_id: str, tokens: Tokens, after_s: float) -> None:
        self._registry = registry
        self._account_id = account_id
        self._tokens = tokens
        self._after_s = after_s

    async def run(self) -> None:
        """Until cancelled. Raises ServiceException: to be run again."""
        while True:
            await self.authorize_waiting()
            await asyncio.sleep(LOOK_EVERY_S)

    async def authorize_waiting(self) -> int:
        """How many were waiting."""
        before_ms = _now_ms() - int(self._after_s * 1_000)
        async with self._registry.read() as read:
            waiting = await connections.authorizing(read, self._account_id, before_ms)
        await asyncio.gather(*map(self._authorize, waiting))
        return len(waiting)

    async def _authorize(self, connection: EventConnection) -> None:
        reason = ""
        try:
            await self._tokens.of(connection)
        except DeliveryError as error:
            reason = str(error)[:REASON_CHARACTERS_MAX]
            log.warning("connection %s is not authorized: %s", connection.name, reason)
        changes: dict[str, Any]
        settings = {name: value for name, value in connection.settings.items() if name != "StateReason"}
        if reason:
            changes = {"state": DEAUTHORIZED, "settings": {**settings, "StateReason": reason}}
        else:
            changes = {"state": AUTHORIZED, "settings": settings, "authorized_ms": _now_ms()}
        async with self._registry.write() as write:
            await connections.settle(write, connection, **changes)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
