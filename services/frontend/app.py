"""The frontend's root application: which of its three parts a request is for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

from services.frontend.edge.answers import Scope, Send, send_error
from services.frontend.edge.bodies import Receive
from services.frontend.edge.http_protocol import Exchange
from services.frontend.edge.request_ids import RequestIds
from services.frontend.endpoint import asked
from services.frontend.endpoint.errors import send_error_of
from services.frontend.invoke.request import is_invoke
from services.frontend.native import PREFIX, NativeApp
from shared.domain.errors import AccessDeniedException, ServiceException
from shared.domain.function_urls import UrlHosts, of_path

Application = Callable[[Scope, Receive, Send], Awaitable[Any]]


_LOOPBACK_HOST = re.compile(
    rb"(?:127(?:\.\d{1,3}){3}|localhost|(?:[a-z0-9-]+\.)+localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE
)


class StartingException(ServiceException):
    status = 503


class FrontendApp:
    """Answers /_lambdad/ from the first moment; everything else once `ready` was called, with 503 until then.

    hosts: the names under which function URLs are served, on every path; they are served by path on every other name.
    """

    def __init__(self, native: NativeApp, request_ids: RequestIds, hosts: UrlHosts | None = None) -> None:
        self._native = native
        self._request_ids = request_ids
        self._hosts = hosts
        self._invokes: Callable[[Exchange], None] | None = None
        self._control: Any = None
        self._urls: Application | None = None

    def ready(self, invokes: Callable[[Exchange], None], control: Any, urls: Application | None = None) -> None:
        """invokes: takes the requests to invoke routes over."""
        self._invokes, self._control, self._urls = invokes, control, urls

    def serve(self, exchange: Exchange) -> bool:
        """Take an invoke request over; see `http_protocol.Serve`."""
        scope = cast("Scope", exchange.scope)
        if self._invokes is None or not is_invoke(scope["method"], scope["raw_path"]):
            return False
        if self._urls is not None and self._hosts is not None and names_url(self._hosts, scope):
            return False
        self._invokes(exchange)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._urls is not None and self._hosts is not None and is_url(self._hosts, scope):
            await self._urls(scope, receive, send)
        elif of_path(scope["raw_path"]) is not None:
            await send_error(send, StartingException("The cluster is starting. Try again."), self._request_ids())
        elif scope["path"].startswith(PREFIX + "/"):
            await self._native(scope, receive, send)
        elif self._control is None:
            await self._tell_that_it_starts(scope, send)
        else:
            await self._control(scope, receive, send)

    async def _tell_that_it_starts(self, scope: Scope, send: Send) -> None:
        """In the client's own protocol: what it cannot read, it does not try again."""
        error, service = StartingException("The cluster is starting. Try again."), asked.service_of(scope, {})
        if service == asked.LAMBDA:
            await send_error(send, error, self._request_ids())
        else:
            await send_error_of(service, scope, send, error, self._request_ids())


def is_url(hosts: UrlHosts, scope: Scope) -> bool:
    """Whether a request is for a function URL rather than for the API."""
    return names_url(hosts, scope) or of_path(scope["raw_path"]) is not None


def names_url(hosts: UrlHosts, scope: Scope) -> bool:
    """Whether its Host is a function URL's."""
    for name, value in scope["headers"]:
        if name == b"host":
            return hosts.match(value) is not None
    return False


class NoBrowsers:
    """In front of the API when signatures are off: a web page that the operator visits must not reach it.

    Browsers name the page's origin on what a script sends, and a name that was rebound to loopback is seen in Host. Function
    URLs are for web pages, too: those that are not public refuse them on their own. By path they have no name of their own,
    so that only a name of this machine is one that nobody rebound.
    """

    def __init__(self, app: FrontendApp, request_ids: RequestIds, hosts: UrlHosts | None = None) -> None:
        self._app = app
        self._request_ids = request_ids
        self._hosts = hosts

    def serve(self, exchange: Exchange) -> bool:
        return not is_from_browser(cast("Scope", exchange.scope)) and self._app.serve(exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_for_a_url(scope) and is_from_browser(scope):
            error = AccessDeniedException("Without signatures only programs on this machine are answered, not web pages.")
            await send_error(send, error, self._request_ids())
            return
        await self._app(scope, receive, send)

    def _is_for_a_url(self, scope: Scope) -> bool:
        if self._hosts is None:
            return False
        return names_url(self._hosts, scope) or (of_path(scope["raw_path"]) is not None and not has_strange_host(scope))


def is_from_browser(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name in (b"origin", b"sec-fetch-site") or (name == b"host" and _LOOPBACK_HOST.fullmatch(value) is None):
            return True
    return False


def has_strange_host(scope: Scope) -> bool:
    """Whether its Host is none of this machine's own names."""
    return any(name == b"host" and _LOOPBACK_HOST.fullmatch(value) is None for name, value in scope["headers"])
