"""The services behind the endpoint: which one a request is for, and who answers it.

Lambda's own control plane is behind FastAPI, without its pages: the API's description is AWS's. No route of it:
the service model routes, parses and validates, and FastAPI's own share of that would cost a tenth of a GetFunction for nothing.
The other services are ahead of it, as invocations are: it would be a sixth of what a batch of messages costs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

from fastapi import FastAPI
from starlette.types import ASGIApp

from services.frontend.edge.answers import Scope, Send
from services.frontend.edge.bodies import Receive
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.endpoint import asked
from services.frontend.endpoint.api import Api
from services.frontend.endpoint.service_app import ServiceApp, send_response
from shared.aws.service_model import is_service

Application = Callable[[Scope, Receive, Send], Awaitable[Any]]


class Elsewhere(Protocol):
    """What becomes of requests for services that are not served here: `forwarding.Forwarder`."""

    @property
    def targets(self) -> dict[str, str]:
        """What the X-Amz-Target of some services begins with, to their names."""
        ...

    def takes(self, service: str) -> bool:
        """Whether a setting names an endpoint for just this service, though it may be served here."""
        ...

    def knows(self, service: str) -> bool:
        """Whether this is a service at all, whether or not there is an endpoint for it."""
        ...

    async def answer(self, service: str, scope: Scope, receive: Receive, send: Send) -> None: ...


class EndpointApp:
    """apis: Lambda's among them. regions: the cluster's."""

    def __init__(
        self,
        apis: Sequence[Api],
        reader: RequestReader,
        request_ids: RequestIds,
        elsewhere: Elsewhere,
        *,
        regions: frozenset[bytes],
    ) -> None:
        self._elsewhere = elsewhere
        self._served: dict[str, Application] = {
            api.model.name: ServiceApp(api, reader, request_ids, regions=regions) for api in apis
        }
        if asked.LAMBDA in self._served:
            self._served[asked.LAMBDA] = _behind_fastapi(self._served[asked.LAMBDA])
        served_targets = {api.model.target: api.model.name for api in apis if api.model.target is not None}
        self._targets = {**served_targets, **elsewhere.targets}
        self._pages = [api.pages for api in apis if api.pages is not None]
        self._linked = {operation: api.model.name for api in apis for operation in api.links}
        self._by_signature = {api.model.signing_name: api.model.name for api in apis if not shares_its_signing_name(api)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET" and await self._is_page(scope, send):
            return
        action = asked.linked(scope) if self._linked else None
        name = self._linked.get(action) if action is not None else None
        if name is None:
            name = asked.service_of(scope, self._targets)
        name = self._by_signature.get(name, name)
        served = self._served.get(name)
        if served is not None and not self._elsewhere.takes(name):
            await served(scope, receive, send)
        elif self._elsewhere.knows(name):
            await self._elsewhere.answer(name, scope, receive, send)
        else:
            # Signed for something that is no service: Lambda says what its signatures are to be for.
            await self._served[asked.LAMBDA](scope, receive, send)

    async def _is_page(self, scope: Scope, send: Send) -> bool:
        """Answers for a page that anybody may read, if it is one."""
        path: bytes = scope["raw_path"]
        for begin, read in self._pages:
            if path.startswith(begin):
                page = await read(path[len(begin) :].decode("latin-1"))
                if page is not None:
                    await send_response(send, page)
                return page is not None
        return False


def shares_its_signing_name(api: Api) -> bool:
    """Whether the name in its signatures is another service's: then its target alone tells it."""
    return api.model.signing_name != api.model.name and is_service(api.model.signing_name)


def _behind_fastapi(control: Application) -> Application:
    # Spans are made where there is something to tell; FastAPI would look for its own settings of them at every request.
    app = FastAPI(
        openapi_url=None, docs_url=None, redoc_url=None, telemetry={"tracing": False, "metrics": False, "logs": False}
    )
    # What no route matches. A mount's pattern of "everything" stops at a line break, which a path may have.
    app.router.default = cast("ASGIApp", control)
    return cast("Application", app)
