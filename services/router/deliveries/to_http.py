"""Addresses of http and https as targets: one POST a try, over connections that are kept open.

Whoever subscribes an address must not be able to look around the operator's network by it: names are looked up here, and the
connection goes to the address that was checked.
"""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import httpcore

from services.router.deliveries.contract import DeliveryError, UndeliverableError
from shared.events.addresses import open_addresses
from shared.events.records import Delivery, HttpParameters
from shared.settings import Settings

TIMEOUT_S = 15.0
"""Of one try, as AWS has it: connecting, sending and the answer's status."""
CONNECT_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 256
CONNECTIONS_KEPT_MAX = 64
KEPT_ALIVE_S = 4.0
"""Less than servers commonly keep an idle connection (5 s)."""
ANSWER_BYTES_MAX = 64 * 1024
"""A longer answer is not read to its end: its connection is closed."""
PORTS = {"http": 80, "https": 443}
RETRIED = frozenset({408, 429})
"""Answers below 500 that say that a later try may help."""


class ToHttp:
    """Any answer from 200 to 299 takes the delivery; from 300 to 499 it is refused for good."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=CONNECTIONS_KEPT_MAX,
            keepalive_expiry=KEPT_ALIVE_S,
        )

    async def close(self) -> None:
        await self._pool.aclose()

    async def deliver(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._post(delivery)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError, OSError) as error:
            raise DeliveryError(f"{delivery.target}: {error or type(error).__name__}") from error
        if 200 <= status < 300:
            return
        refused = 300 <= status < 500 and status not in RETRIED
        raise (UndeliverableError if refused else DeliveryError)(f"{delivery.target} answered {status}")

    async def _post(self, delivery: Delivery) -> int:
        parts = urlsplit(delivery.target)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]
        # Looked up for each try: what a name leads to may change.
        addresses = await open_addresses(host, port, self._settings)
        if not addresses:
            raise UndeliverableError(f"{delivery.target} leads to no address that may be delivered to from here")
        given = delivery.parameters.headers if isinstance(delivery.parameters, HttpParameters) else ()
        headers = [("Host", parts.netloc.rpartition("@")[2]), *given, ("Content-Length", str(len(delivery.payload)))]
        request = httpcore.Request(
            "POST",
            httpcore.URL(scheme=parts.scheme.lower(), host=addresses[0], port=port, target=_target_of(parts.path, parts.query)),
            headers=[(name.encode(), value.encode("latin-1", "replace")) for name, value in headers],
            content=delivery.payload,
            extensions={
                "sni_hostname": host,
                "timeout": {"connect": CONNECT_TIMEOUT_S, "read": TIMEOUT_S, "write": TIMEOUT_S, "pool": TIMEOUT_S},
            },
        )
        response = await self._pool.handle_async_request(request)
        try:
            size = 0
            async for piece in response.aiter_stream():
                size += len(piece)
                if size > ANSWER_BYTES_MAX:
                    break
        finally:
            await response.aclose()
        return response.status


def _target_of(path: str, query: str) -> str:
    return (path or "/") + (f"?{query}" if query else "")
