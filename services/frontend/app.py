"""The frontend's root application: which of its three parts a request is for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from services.frontend.bodies import Receive
from services.frontend.invoke import is_invoke
from services.frontend.native import PREFIX, NativeApp
from services.frontend.request_ids import RequestIds
from services.frontend.wire import Scope, Send, send_error
from shared.domain.errors import AccessDeniedException, ServiceException

Application = Callable[[Scope, Receive, Send], Awaitable[Any]]


_LOOPBACK_HOST = re.compile(
    rb"(?:127(?:\.\d{1,3}){3}|localhost|(?:[a-z0-9-]+\.)+localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE
)


class StartingException(ServiceException):
    status = 503


class FrontendApp:
    """Answers /_lambdad/ from the first moment; everything else once `ready` was called, with 503 until then."""

    def __init__(self, native: NativeApp, request_ids: RequestIds) -> None:
        self._native = native
        self._request_ids = request_ids
        self._invoke: Application | None = None
        self._control: Any = None

    def ready(self, invoke: Application, control: Any) -> None:
        self._invoke, self._control = invoke, control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._invoke is not None and is_invoke(scope["method"], scope["raw_path"]):
            await self._invoke(scope, receive, send)
        elif scope["path"].startswith(PREFIX + "/"):
            await self._native(scope, receive, send)
        elif self._control is None:
            await send_error(send, StartingException("The cluster is starting. Try again."), self._request_ids())
        else:
            await self._control(scope, receive, send)


class NoBrowsers:
    """In front of everything when signatures are off: a web page that the operator visits must not reach the API.

    Browsers name the page's origin on what a script sends, and a name that was rebound to loopback is seen in Host.
    """

    def __init__(self, app: Application, request_ids: RequestIds) -> None:
        self._app = app
        self._request_ids = request_ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope["headers"]:
            if name in (b"origin", b"sec-fetch-site") or (name == b"host" and _LOOPBACK_HOST.fullmatch(value) is None):
                error = AccessDeniedException("Without signatures only programs on this machine are answered, not web pages.")
                await send_error(send, error, self._request_ids())
                return
        await self._app(scope, receive, send)
