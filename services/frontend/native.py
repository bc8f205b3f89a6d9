"""What is lambdad's own under /_lambdad/: health, readiness, metrics, and the download of code packages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.frontend.bodies import Receive
from services.frontend.wire import Scope, Send, send_error, translate
from shared.domain.errors import ApiError, ResourceNotFoundException
from shared.telemetry.health import Health

PREFIX = "/_lambdad"
PACKAGES_PREFIX = "/_lambdad/packages/"

Download = Callable[[str, bytes], Awaitable[bytes]]
"""(rest of the path, query string) -> the package. Raises ApiError for a link that is wrong, forged or too old."""


class NativeApp:
    """Not signed: probes have no keys, and a package link carries its own proof. download: None until the registry is there."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self.download: Download | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            await send_error(send, ApiErrorMethod(), "-")
            return
        answer = self._health.answer(path.removeprefix(PREFIX))
        if answer is not None:
            status, content_type, body = answer
            await _send(send, status, content_type, body)
        elif path.startswith(PACKAGES_PREFIX) and self.download is not None:
            await self._package(send, path.removeprefix(PACKAGES_PREFIX), scope["query_string"], self.download)
        else:
            await send_error(send, ResourceNotFoundException(f"There is nothing at {path}"), "-")

    async def _package(self, send: Send, rest: str, query: bytes, download: Download) -> None:
        try:
            package = await download(rest, query)
        except Exception as error:
            found = translate(error)
            if found is None:
                raise
            await send_error(send, found, "-")
            return
        await _send(send, 200, b"application/zip", package)


class ApiErrorMethod(ApiError):
    """Only GET and HEAD make sense here."""

    code = "MethodNotAllowedException"
    status = 405
    fault = "User"

    def __init__(self) -> None:
        super().__init__("Only GET and HEAD are answered here.")


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
