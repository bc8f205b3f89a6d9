"""One AWS service behind the endpoint: every operation of its model goes the same way.

Size, body, signature, route, types, constraints, handler, answer, in the protocol that the client speaks. An operation is one
entry in the service's table; one that the model has and the table has not is answered with 501 and its name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from urllib.parse import parse_qs

from services.frontend.edge.answers import LARGE_BYTES, Scope, Send, log, translate
from services.frontend.edge.bodies import ClientGoneError, Receive
from services.frontend.edge.http_protocol import EXCHANGE
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import Limit, RequestReader, SignedRequest
from services.frontend.endpoint import asked
from services.frontend.endpoint.api import Api, Call, Handler
from shared.aws.protocols.protocol import BODILESS, Params, Response, WireProtocol
from shared.aws.routing import Route, parse_query
from shared.aws.signatures.canonical import normal_path
from shared.aws.signatures.sigv4 import Expected
from shared.domain.errors import AccessDeniedException, ApiError, NulCharacterException, ServiceException, UserError

HANDLER_TIMEOUT_S = 30.0
_HOST = re.compile(rb"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")
_FORM_ACTION_BYTES_MAX = 256


class NotImplementedYetException(ServiceException):
    """An operation that AWS has and this version does not. 501 is not retried by SDKs."""

    status = 501


class UnknownActionException(UserError):
    """An operation that AWS has not, in the words of each protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ServiceApp:
    """regions: those for which signatures may be."""

    def __init__(self, api: Api, reader: RequestReader, request_ids: RequestIds, *, regions: frozenset[bytes]) -> None:
        self._api = api
        self._reader = reader
        self._request_ids = request_ids
        self._expected = Expected(api.model.signing_name.encode(), api.regions(regions))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._request_ids()
        protocol = self._api.protocol(asked.spoken(scope))
        try:
            response = await self._answer(scope, receive, protocol, request_id)
        except ClientGoneError:
            return
        except Exception as error:
            found = translate(error)
            if found is None:
                log.exception("%s %s (%s) failed", scope["method"], scope["path"], request_id)
                found = ServiceException("An internal error occurred.")
            response = self._api.error(protocol, found, request_id)
        await send_response(send, response)

    async def _answer(self, scope: Scope, receive: Receive, protocol: WireProtocol, request_id: str) -> Response:
        rest = protocol.name.startswith("rest")
        query = parse_query(scope["query_string"].decode("latin-1"))
        path = normal_path(scope["raw_path"])
        route = self._api.router.route(scope["method"], path.decode("latin-1"), query) if rest else None
        linked = not rest and asked.linked(scope) in self._api.links
        claimed = self._reader.unsigned(scope) if linked else self._reader.claim(scope, self._expected)
        signed = await claimed.read(receive, Limit(self._api.body_bytes_max, self._too_large(route)))
        if route is None:
            if rest:
                # AWS's answer to a path or method that none of its operations has.
                raise AccessDeniedException("Unable to determine service/operation name to be authorized")
            route = self._named(protocol, scope, signed)
        handler = self._api.operations.get(route.operation.name)
        if handler is None and rest and path != scope["raw_path"]:
            # The path of an invocation in an odd spelling is not answered by the application in front of this one.
            raise AccessDeniedException("Unable to determine service/operation name to be authorized")
        params = await self._params(protocol, route, query, signed)
        if handler is None:
            raise NotImplementedYetException(f"The operation {route.operation.name} is not implemented yet.")
        host = signed.headers.get(b"host", b"")
        endpoint = f"http://{host.decode()}" if _HOST.fullmatch(host) else None
        exchange = scope.get(EXCHANGE)
        call = Call(
            signed.caller,
            signed.home,
            request_id,
            endpoint,
            scope["raw_path"],
            signed.headers,
            protocol.name,
            None if exchange is None else exchange.end_with_client,
        )
        return await self._run(protocol, handler, route, params, call)

    def _named(self, protocol: WireProtocol, scope: Scope, signed: SignedRequest) -> Route:
        """The operation of a protocol in which it is not the path that says it. Raises UnknownActionException."""
        model = self._api.model
        if protocol.name in ("query", "ec2"):
            form = signed.body or signed.query
            name, version = _action(form)
            if not name:
                raise UnknownActionException("MissingAction", "Missing Action")
            optional = self._api.version_optional or name in self._api.links
            known = version == model.api_version or (not version and optional)
            if name not in model.operations or not known:
                text = self._api.unknown_action.format(name=name, version=version)
                raise UnknownActionException("InvalidAction", text)
            return Route(model.operations[name], {})
        name = asked.operation_named(scope, signed.headers)
        if name not in model.operations:
            raise UnknownActionException("UnknownOperationException", "")
        return Route(model.operations[name], {})

    async def _params(self, protocol: WireProtocol, route: Route, query: dict[str, list[str]], signed: SignedRequest) -> Params:
        forms = protocol.name in ("query", "ec2")
        # Parameters are in headers of neither forms nor plain JSON.
        headers = {} if forms or protocol.name == "json" else signed.headers
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        # A form may come in the query of a GET.
        body = signed.body or (signed.query if forms else b"")
        try:
            if len(body) > LARGE_BYTES:
                params = await asyncio.to_thread(protocol.parse, route, query, texts, body)
            else:
                params = protocol.parse(route, query, texts, body)
        except NulCharacterException as error:
            raise self._api.nul(route.operation, error) from error
        self._api.check(route.operation, params)
        return params

    async def _run(self, protocol: WireProtocol, handler: Handler, route: Route, params: Params, call: Call) -> Response:
        async with asyncio.timeout(HANDLER_TIMEOUT_S):
            reply = await handler(call, params)
        return protocol.reply(self._api.model, route.operation, reply, call.request_id)

    def _too_large(self, route: Route | None) -> Callable[[int], ApiError]:
        name = route.operation.name if route is not None else "requested"
        return lambda size_bytes: self._api.too_large(name, size_bytes)


async def send_response(send: Send, response: Response) -> None:
    headers = [*response.headers]
    if response.status not in BODILESS and not any(name == b"content-length" for name, _ in headers):
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


def _action(form: bytes) -> tuple[str, str]:
    """Action and Version of a form. All that is looked at is the fields that begin so."""
    fields = (field for field in form.split(b"&") if field.startswith((b"Action=", b"Version=")))
    found = parse_qs("&".join(field.decode("latin-1") for field in fields if len(field) <= _FORM_ACTION_BYTES_MAX))
    return found.get("Action", [""])[0], found.get("Version", [""])[0]
