"""The control plane behind FastAPI: every operation of the service model goes the same way.

Size, body, signature, route, types, constraints, handler, answer. An operation is one entry in `control.OPERATIONS`; one that
the model has and the table has not is answered with 501 and its name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from services.frontend.answers import LARGE_BYTES, log, translate
from services.frontend.apis.lambda_ import package_links
from services.frontend.bodies import ClientGoneError
from services.frontend.request_ids import RequestIds
from services.frontend.signed_requests import Limit, RequestReader
from shared.aws.canonical import normal_path
from shared.aws.error_rendering import render
from shared.aws.protocols.protocol import BODILESS, Params
from shared.aws.protocols.rest_json import parse_params, serialize_reply
from shared.aws.routing import Route, Router, parse_query
from shared.aws.validation import validate
from shared.domain.errors import (
    AccessDeniedException,
    ApiError,
    RequestEntityTooLargeException,
    ServiceException,
)
from shared.domain.limits import CONTROL_BODY_BYTES_MAX

_HOST = re.compile(rb"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")
HANDLER_TIMEOUT_S = 30.0
Handler = Callable[[Any, Params], Awaitable[dict[str, Any] | None]]
"""(control context, parameters) -> the reply's members; `StatusCode` among them is the answer's status."""


class NotImplementedYetException(ServiceException):
    """An operation that AWS has and this version does not. 501 is not retried by SDKs."""

    status = 501


class ControlPlane:
    def __init__(
        self,
        *,
        operations: Mapping[str, Handler],
        context: Any,
        router: Router,
        reader: RequestReader,
        request_ids: RequestIds,
    ) -> None:
        self._operations = operations
        self._context = context
        self._router = router
        self._reader = reader
        self._request_ids = request_ids

    async def answer(self, request: Request) -> Response:
        request_id = self._request_ids()
        try:
            return await self._answer(request, request_id)
        except ClientGoneError:
            return Response(status_code=400)
        except Exception as error:
            found = translate(error)
            if found is None:
                log.exception("%s %s (%s) failed", request.method, request.url.path, request_id)
                found = ServiceException("An internal error occurred.")
            return error_response(found, request_id)

    async def _answer(self, request: Request, request_id: str) -> Response:
        scope = request.scope
        raw_path, query_string = scope["raw_path"], scope["query_string"]
        query = parse_query(query_string.decode("latin-1"))
        path = normal_path(raw_path)
        route = self._router.route(request.method, path.decode("latin-1"), query)
        claimed = self._reader.claim(scope)
        signed = await claimed.read(request.receive, Limit(CONTROL_BODY_BYTES_MAX, _too_large(route)))  # type: ignore[arg-type]
        headers, body = signed.headers, signed.body
        large = len(body) > LARGE_BYTES
        handler = None if route is None else self._operations.get(route.operation.name)
        if route is None or (handler is None and path != raw_path):
            # The path of an invocation in an odd spelling is not answered by the application in front of this one.
            # AWS's answer to a path or method that none of its operations has.
            raise AccessDeniedException("Unable to determine service/operation name to be authorized")
        if handler is None:
            raise NotImplementedYetException(f"The operation {route.operation.name} is not implemented yet.")
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        if large:
            params = await asyncio.to_thread(parse_params, route, query, texts, body)
        else:
            params = parse_params(route, query, texts, body)
        validate(route.operation, params)
        host = headers.get(b"host", b"")
        package_links.endpoint.set(f"http://{host.decode()}" if _HOST.fullmatch(host) else None)
        return await self._run(handler, route, params, request_id)

    async def _run(self, handler: Handler, route: Route, params: Params, request_id: str) -> Response:
        async with asyncio.timeout(HANDLER_TIMEOUT_S):
            reply = await handler(self._context, params)
        answer = serialize_reply(route.operation, reply)
        return _response(answer.status, [*answer.headers, (b"x-amzn-requestid", request_id.encode())], answer.body)


def build_control_app(plane: ControlPlane) -> FastAPI:
    """FastAPI without its own pages: the API's description is AWS's. Mounted rather than a route: the service model routes,
    parses and validates, and FastAPI's own share of that would cost a tenth of a GetFunction for nothing."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    async def any_operation(scope: Scope, receive: Receive, send: Send) -> None:
        response = await plane.answer(Request(scope, receive))
        await response(scope, receive, send)

    app.mount("/", any_operation)
    return app


def error_response(error: ApiError, request_id: str) -> Response:
    rendered = render(error, request_id)
    return _response(rendered.status, rendered.headers, rendered.body)


def _response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Response:
    response = Response(status_code=status)
    response.body = body
    named = [*headers]
    if status not in BODILESS and not any(name == b"content-length" for name, _ in headers):
        named.append((b"content-length", b"%d" % len(body)))
    response.raw_headers = named
    return response


def _too_large(route: Route | None) -> Callable[[int], ApiError]:
    name = route.operation.name if route is not None else "requested"

    def error(size_bytes: int) -> ApiError:
        del size_bytes
        return RequestEntityTooLargeException(
            f"Request must be smaller than {CONTROL_BODY_BYTES_MAX} bytes for the {name} operation"
        )

    return error
