"""Requests to addresses that clients of the cluster named, over connections that are kept open.

Whoever names an address must not be able to look around the operator's network by it: names are looked up here, and the
connection goes to the address that was checked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpcore
import msgspec

from services.router.deliveries.contract import DeliveryError, UndeliverableError
from shared.events.addresses import open_addresses
from shared.settings import Settings

CONNECT_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 256
CONNECTIONS_KEPT_MAX = 64
KEPT_ALIVE_S = 4.0
"""Less than servers commonly keep an idle connection (5 s)."""
ANSWER_BYTES_MAX = 64 * 1024
"""A longer answer is not read to its end: its connection is closed."""
PORTS = {"http": 80, "https": 443}
Headers = Sequence[tuple[str, str]]


class HttpAnswer(msgspec.Struct, frozen=True):
    """headers: by lower-case name. body: its beginning, ANSWER_BYTES_MAX at most."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpRequests:
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

    async def send(self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float) -> HttpAnswer:
        """timeout_s: for all of it. Raises DeliveryError where nobody answers, UndeliverableError where nothing may be sent."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._send(method, url, headers, body, timeout_s)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError, OSError) as error:
            raise DeliveryError(f"{url}: {error or type(error).__name__}") from error

    async def _send(self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float) -> HttpAnswer:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]
        # Looked up for each try: what a name leads to may change.
        addresses = await open_addresses(host, port, self._settings)
        if not addresses:
            raise UndeliverableError(f"{url} leads to no address that may be delivered to from here")
        told = [("Host", parts.netloc.rpartition("@")[2]), *headers, ("Content-Length", str(len(body)))]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=parts.scheme.lower(), host=addresses[0], port=port, target=target),
            headers=[(name.encode(), value.encode("latin-1", "replace")) for name, value in told],
            content=body,
            extensions={
                "sni_hostname": host,
                "timeout": {"connect": CONNECT_TIMEOUT_S, "read": timeout_s, "write": timeout_s, "pool": timeout_s},
            },
        )
        response = await self._pool.handle_async_request(request)
        try:
            read = bytearray()
            async for piece in response.aiter_stream():
                read += piece
                if len(read) > ANSWER_BYTES_MAX:
                    break
        finally:
            await response.aclose()
        shown = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return HttpAnswer(response.status, shown, bytes(read[:ANSWER_BYTES_MAX]))
