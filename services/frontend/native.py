"""What is lambdad's own under /_lambdad/: health, readiness, metrics, the download of code packages, and the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from services.frontend.edge.answers import Scope, Send, send_error, translate
from services.frontend.edge.bodies import Receive
from shared.domain.errors import ApiError, ResourceNotFoundException
from shared.telemetry.health import Health

PREFIX = "/_lambdad"
PACKAGES_PREFIX = "/_lambdad/packages/"
EVENTS_PATH = "/_lambdad/events"

Download = Callable[[str, bytes], Awaitable[tuple[int, AsyncIterator[bytes]]]]
"""(rest of the path, query string) -> size in bytes and content of the package. Raises ApiError for a bad link."""


Events = Callable[[Scope, Receive, Send], Awaitable[None]]
"""`services.frontend.ledger.routes.LedgerApp`."""


class NativeApp:
    """Not signed but for events: probes have no keys, and a package link carries its own proof. download, events: None until
    the registry is there."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.download: Download | None = None
        self.events: Events | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if self.events is not None and (path == EVENTS_PATH or path.startswith(EVENTS_PATH + "/")):
            await self.events(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await send_error(send, ApiErrorMethod(), "-")
            return
        answer = self._health.answer(path.removeprefix(PREFIX))
        if answer is not None:
            status, content_type, body = answer
            await _send(send, status, content_type, body)
        elif path.startswith(PACKAGES_PREFIX) and self.download is not None:
            await self._package(scope, send, self.download)
        else:
            await send_error(send, ResourceNotFoundException(f"There is nothing at {path}"), "-")

    async def _package(self, scope: Scope, send: Send, download: Download) -> None:
        """What fails after the head was sent ends the connection, which leaves the client with less than it was promised."""
        try:
            size_bytes, parts = await download(scope["path"].removeprefix(PACKAGES_PREFIX), scope["query_string"])
        except Exception as error:
            found = translate(error)
            if found is None:
                raise
            await send_error(send, found, "-")
            return
        await send({"type": "http.response.start", "status": 200, "headers": _headers(b"application/zip", size_bytes)})
        if scope["method"] == "GET":
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class ApiErrorMethod(ApiError):
    """Only GET and HEAD make sense here."""

    code = "MethodNotAllowedException"
    status = 405
    fault = "User"

    def __init__(self) -> None:
        super().__init__("Only GET and HEAD are answered here.")


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _headers(content_type, len(body))})
    await send({"type": "http.response.body", "body": body})


def _headers(content_type: bytes, size_bytes: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", content_type), (b"content-length", b"%d" % size_bytes)]
