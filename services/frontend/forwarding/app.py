"""Requests for services that are not served here: passed on to the endpoint that a setting names, or refused in the service's
own protocol with that setting's name.

Bodies are streamed both ways and never held, with one exception: a signature that covers a body without naming its hash can
only be checked with all of it, so such a body is read first, up to HELD_BYTES_MAX.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpcore

from services.frontend.edge.answers import Scope, Send, log, translate
from services.frontend.edge.bodies import ClientGoneError, Receive
from services.frontend.edge.http_protocol import EXCHANGE
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import ClaimedRequest, Limit, RequestReader
from services.frontend.endpoint import asked
from services.frontend.endpoint.errors import send_error_of
from services.frontend.forwarding.bodies import StreamedBody
from services.frontend.forwarding.settings import Endpoint, Endpoints, setting_of
from shared.aws.protocols.protocol import Headers
from shared.aws.signatures.resigning import Outgoing, resigned
from shared.aws.signatures.signing_names import folder_of
from shared.aws.signatures.sigv4 import Expected
from shared.domain.errors import (
    ApiError,
    AuthError,
    RequestEntityTooLargeException,
    ServiceException,
    TooManyRequestsException,
)
from shared.settings import Settings

HELD_BYTES_MAX = 16 * 1024 * 1024
"""DynamoDB's largest request, the largest that is signed without its hash in a header."""
HELD_TOGETHER_BYTES_MAX = 256 * 1024 * 1024
KEPT_ALIVE_S = 4.0
"""Less than targets commonly keep an idle connection (5 s): else a request now and then meets one that is just being closed."""
ANYTHING = Expected(None, None)
"""A signature for whatever service and region: the key decides, and the target."""
HOP_BY_HOP = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
        b"transfer-encoding", b"upgrade", b"expect",
    )
)  # fmt: skip


class NotServedException(ServiceException):
    """A service for which there is nobody here. 501 is not retried by SDKs."""

    code = "NotImplemented"
    status = 501


class TargetException(ServiceException):
    """The endpoint that a setting names did not do its part."""

    code = "ServiceUnavailable"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Forwarder:
    """Raises ConfigurationError when the settings name something that is no endpoint."""

    def __init__(self, settings: Settings, reader: RequestReader, request_ids: RequestIds) -> None:
        self._endpoints = Endpoints(settings)
        self._reader = reader
        self._held_bytes = 0
        self._request_ids = request_ids
        bounds = settings.frontend
        self._timeouts = {
            "connect": bounds.forward_connect_timeout_s,
            "read": bounds.forward_idle_timeout_s,
            "write": bounds.forward_idle_timeout_s,
            "pool": bounds.forward_connect_timeout_s,
        }
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=bounds.forwarded_max,
            keepalive_expiry=KEPT_ALIVE_S,
        )

    @property
    def targets(self) -> dict[str, str]:
        return self._endpoints.targets

    def takes(self, service: str) -> bool:
        return self._endpoints.names(service)

    def reaches(self, service: str) -> bool:
        """Whether there is an endpoint for a service that is not served here, be it that of all others."""
        return self._endpoints.of(service) is not None

    def knows(self, service: str) -> bool:
        return folder_of(service) is not None

    async def close(self) -> None:
        await self._pool.aclose()

    async def answer(self, service: str, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._request_ids()
        try:
            endpoint = self._endpoints.of(service)
            if endpoint is None:
                raise _not_served(service)
            await self._forward(service, endpoint, scope, receive, send)
        except ClientGoneError:
            return
        except Exception as error:
            found = translate(error)
            if found is None:
                log.exception("forwarding %s %s to %s (%s) failed", scope["method"], scope["path"], service, request_id)
                found = ServiceException("An internal error occurred.")
            await send_error_of(service, scope, send, found, request_id)

    async def _forward(self, service: str, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        if asked.OLD_LINK in scope["query_string"] and self._reader.checks_signatures:
            raise AuthError(
                "AccessDeniedException",
                "Links of Signature Version 2 are not checked here. Make them with Config(signature_version='s3v4').",
            )
        claimed = self._reader.claim(scope, ANYTHING)
        body = await self._body(service, endpoint, claimed, scope, receive)
        query = scope["query_string"]
        target = endpoint.base_path + scope["raw_path"] + (b"?" + query if query else b"")
        headers = _without_hops(scope["headers"])
        if body.size_bytes is None and body.chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        if endpoint.signing is not None:
            outgoing = Outgoing(scope["method"], endpoint.authority, target, headers, body.payload_hash)
            target, headers = resigned(endpoint.signing, service, endpoint.region or claimed.region, outgoing)
        url = httpcore.URL(scheme=endpoint.scheme, host=endpoint.host, port=endpoint.port, target=target)
        request = httpcore.Request(scope["method"], url, headers=headers, content=body, extensions={"timeout": self._timeouts})
        self._held_bytes += body.held_bytes
        try:
            response = await self._pool.handle_async_request(request)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            if body.failure is not None:
                raise body.failure from error
            raise _unreachable(service, endpoint, error) from error
        finally:
            self._held_bytes -= body.held_bytes
        try:
            await _answer(response, scope, send)
        finally:
            await response.aclose()

    async def _body(
        self, service: str, endpoint: Endpoint, claimed: ClaimedRequest, scope: Scope, receive: Receive
    ) -> StreamedBody:
        """The request's body, its signature proven as far as it can be before all of it is there."""
        exchange = scope.get(EXCHANGE)
        more_time = None if exchange is None else exchange.more_time
        if claimed.names_its_payload or (claimed.unsigned and (endpoint.signing is None or service == "s3")):
            named = claimed.prove_named()
            chunks = claimed.passing_chunks()
            return StreamedBody(
                receive, claimed.headers, more_time, expected=named, payload_hash=claimed.payload_hash, chunks=chunks
            )
        signed = await claimed.read(receive, Limit(HELD_BYTES_MAX, _too_large))
        if self._held_bytes + len(signed.body) > HELD_TOGETHER_BYTES_MAX:
            raise TooManyRequestsException("CallerRateLimitExceeded")
        return StreamedBody.held(signed.body, claimed.headers)


async def _answer(response: httpcore.Response, scope: Scope, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in response.headers]
    bodiless = response.status in (204, 304) or response.status < 200
    kept: Headers = [
        (name, value)
        for name, value in _without_hops(headers)
        if name != b"date" and not (bodiless and name == b"content-length")
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": kept})
    try:
        async for piece in _pieces(response):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if scope[EXCHANGE].disconnected:
                return
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
        # The head has been sent: the client must see that the body is not whole.
        log.warning("the endpoint behind %s broke off in its answer: %s", scope["path"], error or type(error).__name__)
        scope[EXCHANGE].cut()
        return
    await send({"type": "http.response.body", "body": b""})


async def _pieces(response: httpcore.Response) -> AsyncIterator[bytes]:
    async for piece in response.aiter_stream():
        if piece:
            yield piece


def _without_hops(headers: list[tuple[bytes, bytes]]) -> Headers:
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(part.strip().lower() for part in value.split(b","))
    return [(name, value) for name, value in headers if name not in HOP_BY_HOP and name not in named]


def _not_served(service: str) -> NotServedException:
    setting = setting_of(service)
    return NotServedException(
        f"{service} is not served by this cluster. Set {setting}=http://... (lambdad up --forward {service}=URL) to forward it."
    )


def _unreachable(service: str, endpoint: Endpoint, error: Exception) -> TargetException:
    where = f"{service} is forwarded to {endpoint.url} ({setting_of(service)})"
    if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
        return TargetException(503, f"{where}, which cannot be reached: {error or type(error).__name__}")
    if isinstance(error, httpcore.PoolTimeout):
        return TargetException(503, f"{where}, to which as many requests are under way as may be.")
    if isinstance(error, httpcore.TimeoutException):
        return TargetException(504, f"{where}, which did not answer in time.")
    return TargetException(502, f"{where}, which broke off: {error or type(error).__name__}")


def _too_large(size_bytes: int) -> ApiError:
    return RequestEntityTooLargeException(
        f"{size_bytes} bytes are too many for a request whose signature does not name its body's hash: send "
        f"x-amz-content-sha256, or at most {HELD_BYTES_MAX} bytes"
    )
