"""Function URLs served as raw ASGI: chosen by host name or by path, ahead of the API's own routes.

URL, preflight, caller, resource policy, event, invocation, answer. How an invocation becomes an answer depends on the URL's
invoke mode.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Protocol

from services.frontend.edge.answers import LARGE_BYTES, Scope, Send, log, translate
from services.frontend.edge.bodies import ClientGoneError, Receive
from services.frontend.edge.http_protocol import EXCHANGE
from services.frontend.edge.identity import Caller
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import Limit, RequestReader
from services.frontend.invoke.metrics import InvokeMetrics
from services.frontend.invoke.streamed import Invoker, StreamedInvocation
from services.frontend.urls import cors, replies
from services.frontend.urls.callers import Circumstances, refusal
from services.frontend.urls.events import UrlRequest, event_of
from services.frontend.urls.refusals import RefusalLog
from services.frontend.urls.replies import INTERNAL_SERVER_ERROR, Headers, MalformedReplyError, UrlReply
from services.frontend.urls.streams import opening
from shared.aws.error_rendering import render
from shared.aws.signatures.sigv4 import Expected
from shared.domain.arns import Home, function_arn
from shared.domain.errors import (
    AccessDeniedException,
    ApiError,
    AuthError,
    RequestEntityTooLargeException,
    ResourceNotFoundException,
    ServiceException,
)
from shared.domain.function_urls import AWS_IAM, RESPONSE_STREAM, UrlHosts, is_ours, of_path
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.registry.function_urls import ServedUrl

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
TRACE_CHARACTERS_MAX = 256


class Urls(Protocol):
    """`shared.registry.url_cache.UrlCache`."""

    async def find(self, url_id: str) -> ServedUrl | None: ...


class FunctionUrlApp:
    """secret: the cluster's. queue_wait_s: the longest wait for room."""

    def __init__(
        self,
        *,
        urls: Urls,
        hosts: UrlHosts,
        reader: RequestReader,
        invoker: Invoker,
        request_ids: RequestIds,
        metrics: InvokeMetrics,
        secret: bytes,
        account_id: str,
        queue_wait_s: float,
    ) -> None:
        self._urls = urls
        self._hosts = hosts
        self._reader = reader
        self._invoker = invoker
        self._request_ids = request_ids
        self._metrics = metrics
        self._secret = secret
        self._account_id = account_id
        self._queue_wait_s = queue_wait_s
        self._refusals = RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._request_ids()
        exchange = _Exchange(scope, receive, request_id)
        try:
            reply = await self._answer(exchange, send)
        except ClientGoneError:
            self._metrics.count("disconnected")
            return
        except asyncio.CancelledError:
            # By the protocol when the client has gone (then this reaches nobody), or by the server at its stop.
            self._metrics.count("disconnected")
            reply = _rendered(ServiceException("The service is stopping."), request_id)
        except Exception as error:
            found = translate(error)
            if found is None:
                log.exception("the request %s to a function URL failed", request_id)
                found = ServiceException("An internal error occurred.")
            self._metrics.count(found.code)
            reply = _rendered(found, request_id)
        if reply is not None:
            await _send(send, reply, exchange)

    async def _answer(self, exchange: _Exchange, send: Send) -> UrlReply | None:
        """None: the answer was streamed, and has been sent."""
        url_id, region, raw_path = self._named(exchange)
        served = await self._urls.find(url_id) if is_ours(self._secret, url_id) else None
        if served is None or region not in (None, served.region):
            # An id that was never given, or not in this region, is told from one whose URL is gone.
            raise AccessDeniedException(FORBIDDEN if served is None and is_ours(self._secret, url_id) else "")
        settings = served.url.cors
        if settings is not None:
            if cors.is_preflight(exchange.method, exchange.headers):
                return UrlReply(200, cors.preflight_headers(settings, exchange.headers), b"")
            exchange.cors = True
            exchange.added = cors.response_headers(settings, exchange.headers)
        caller, body = await self._admitted(served, exchange)
        request = UrlRequest(
            method=exchange.method,
            raw_path=raw_path.decode("latin-1"),
            raw_query=exchange.scope["query_string"].decode("latin-1"),
            headers=exchange.header_list,
            body=body,
            http_version=exchange.scope["http_version"],
            source_ip=exchange.source_ip,
            port=exchange.port,
            host_name=self._hosts.name(url_id, served.region),
            url_id=url_id,
            request_id=exchange.request_id,
            trace=exchange.trace,
            now_s=exchange.now_s,
        )
        large = len(body) > LARGE_BYTES
        event = await asyncio.to_thread(event_of, request, caller) if large else event_of(request, caller)
        if len(event) > SYNC_PAYLOAD_BYTES_MAX:
            raise _too_large(len(event))
        return await self._invoked(served, exchange, event, send)

    def _named(self, exchange: _Exchange) -> tuple[str, str | None, bytes]:
        """(url id, its region, path that the function sees), by the request's Host or else by its path, which names no region.

        A signature is for all of the path.
        """
        path: bytes = exchange.scope["raw_path"]
        by_name = self._hosts.match(exchange.host)
        if by_name is not None:
            return (*by_name, path)
        url_id, path = of_path(path) or ("", path)
        return url_id, None, path

    async def _admitted(self, served: ServedUrl, exchange: _Exchange) -> tuple[Caller, bytes]:
        """Who calls, once it is known that they may, and the request's body. Raises AuthError, AccessDeniedException."""
        if served.url.auth_type != AWS_IAM:
            claimed = self._reader.unsigned(exchange.scope)
            self._authorize(served, exchange, claimed.caller)
            return claimed.caller, (await claimed.read(exchange.receive, _LIMIT)).body
        if not self._reader.checks_signatures and ("origin" in exchange.headers or "sec-fetch-site" in exchange.headers):
            raise AccessDeniedException("Without signatures only programs on this machine are answered, not web pages.")
        try:
            claimed = self._reader.claim(exchange.scope, Expected(b"lambda", frozenset({served.region.encode()})))
        except AuthError as error:
            if error.code == "MissingAuthenticationTokenException":
                raise AccessDeniedException(FORBIDDEN) from error
            raise
        request = await claimed.read(exchange.receive, _LIMIT)
        self._authorize(served, exchange, request.caller)
        return request.caller, request.body

    def _authorize(self, served: ServedUrl, exchange: _Exchange, caller: Caller) -> None:
        circumstances = Circumstances(
            source_ip=exchange.source_ip,
            user_agent=exchange.headers.get("user-agent", ""),
            referer=exchange.headers.get("referer", ""),
            now_s=exchange.now_s,
        )
        reason = refusal(served, caller, circumstances, owner=self._account_id)
        if reason is not None:
            self._refusals.tell(served.url.url_id, self._function(served), reason, exchange.now_s)
            raise AccessDeniedException(FORBIDDEN)

    async def _invoked(self, served: ServedUrl, exchange: _Exchange, event: bytes, send: Send) -> UrlReply | None:
        started = time.perf_counter()
        exchange.scope[EXCHANGE].cancel_with_task()
        invocation = Invocation(request_id=exchange.request_id, payload=event, trace=exchange.trace)
        try:
            if served.url.invoke_mode == RESPONSE_STREAM:
                return await self._streamed(served, exchange, invocation, send)
            function = self._function(served)
            result = await self._invoker.invoke(function, served.qualifier, invocation, wait_s=self._queue_wait_s)
        except ResourceNotFoundException as error:
            # The function or alias went a moment ago, and its URL with it.
            raise AccessDeniedException(FORBIDDEN) from error
        finally:
            self._metrics.observe(time.perf_counter() - started)
        return await self._buffered(result) if self._succeeded(result) else INTERNAL_SERVER_ERROR

    def _function(self, served: ServedUrl) -> str:
        return function_arn(Home(self._account_id, served.region), served.function_name)

    def _succeeded(self, result: InvocationResult) -> bool:
        self._metrics.count("ok" if result.function_error is None else "function_error")
        return result.function_error is None

    async def _streamed(self, served: ServedUrl, exchange: _Exchange, invocation: Invocation, send: Send) -> UrlReply | None:
        wait_s = self._queue_wait_s
        function = self._function(served)
        async with StreamedInvocation(self._invoker, function, served.qualifier, invocation, wait_s=wait_s) as call:
            if not await call.begun():
                result = await call.result()
                return replies.unmapped(result.payload) if self._succeeded(result) else INTERNAL_SERVER_ERROR
            pieces = call.pieces()
            try:
                opened = await opening(call.content_type, pieces)
            except MalformedReplyError as error:
                log.debug("a function URL's answer cannot be sent: %s", error)
                return INTERNAL_SERVER_ERROR
            await send({"type": "http.response.start", "status": opened.status, "headers": _headers(opened.headers, exchange)})
            if opened.first:
                await send({"type": "http.response.body", "body": opened.first, "more_body": True})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            try:
                complete = self._succeeded(await call.result())
            except Exception as error:
                answer = translate(error)
                self._metrics.count("ServiceException" if answer is None else answer.code)
                complete = False
            if complete:
                await send({"type": "http.response.body", "body": b""})
            else:
                exchange.scope[EXCHANGE].cut()
            return None

    async def _buffered(self, result: InvocationResult) -> UrlReply:
        try:
            if len(result.payload) > LARGE_BYTES:
                return await asyncio.to_thread(replies.mapped, result.payload)
            return replies.mapped(result.payload)
        except MalformedReplyError as error:
            log.debug("a function URL's answer cannot be sent: %s", error)
            return INTERNAL_SERVER_ERROR


class _Exchange:
    """One request while it is being answered. added: headers that every answer gets besides its own.
    cors: the URL has settings for other origins."""

    def __init__(self, scope: Scope, receive: Receive, request_id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.request_id = request_id
        self.method: str = scope["method"]
        self.now_s = time.time()
        self.header_list = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        self.headers: Mapping[str, str] = dict(reversed(self.header_list))
        self.host: bytes = self.headers.get("host", "").encode("latin-1")
        # The port that the client knows: a published one may be another than ours.
        port = self.host.rpartition(b":")[2]
        self.port = int(port) if port.isdigit() and len(port) <= 5 else 80
        self.source_ip: str = scope["client"][0] if scope["client"] else ""
        given = self.headers.get("x-amzn-trace-id", "")
        self.trace = given if 0 < len(given) <= TRACE_CHARACTERS_MAX else _new_trace(self.now_s)
        self.added: Headers = []
        self.cors = False


def _new_trace(now_s: float) -> str:
    return f"Root=1-{int(now_s):08x}-{secrets.token_hex(12)}"


def _too_large(size_bytes: int) -> ApiError:
    del size_bytes
    return RequestEntityTooLargeException(
        f"Request must be smaller than {SYNC_PAYLOAD_BYTES_MAX} bytes for the InvokeFunction operation"
    )


_LIMIT = Limit(SYNC_PAYLOAD_BYTES_MAX, _too_large)


def _rendered(error: ApiError, request_id: str) -> UrlReply:
    rendered = render(error, request_id)
    own = (b"content-length", b"x-amzn-requestid")
    return UrlReply(rendered.status, [pair for pair in rendered.headers if pair[0] not in own], rendered.body)


async def _send(send: Send, reply: UrlReply, exchange: _Exchange) -> None:
    headers = _headers(reply.headers, exchange)
    if reply.status not in replies.BODILESS:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _headers(headers: Headers, exchange: _Exchange) -> Headers:
    if exchange.cors:
        # The URL's settings decide; what the function says of it is not sent beside them.
        headers = [pair for pair in headers if not pair[0].startswith(cors.PREFIX)]
    return [
        *headers,
        *exchange.added,
        (b"x-amzn-requestid", exchange.request_id.encode()),
        (b"x-amzn-trace-id", exchange.trace.encode("latin-1")),
    ]
