"""What an AWS service is to the endpoint: its model, a table of operations, and what differs from the other services."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from services.frontend.edge.identity import Caller
from shared.aws.protocols.protocol import Params, Response, WireProtocol
from shared.aws.protocols.table import PROTOCOLS
from shared.aws.routing import Router
from shared.aws.service_model import Operation, ServiceModel
from shared.aws.validation import validate
from shared.domain.arns import Home
from shared.domain.errors import ApiError, RequestEntityTooLargeException, ServiceException
from shared.domain.limits import CONTROL_BODY_BYTES_MAX

GLOBAL_REGION = b"us-east-1"
"""What clients of a service that is the same everywhere sign for."""


class Call(msgspec.Struct, frozen=True):
    """Who asks, where and how, for an operation. endpoint: `http://host:port` as the client reaches us, None for an odd one.

    path: as on the wire. headers: by lower-case name. protocol: by its name in the models. end_with_client: for an operation
    that waits on its client's behalf, so that it ends (is cancelled) when the client goes away; raises ClientGoneError.
    """

    caller: Caller
    home: Home
    request_id: str
    endpoint: str | None = None
    path: bytes = b"/"
    headers: Mapping[bytes, bytes] = {}
    protocol: str = "json"
    end_with_client: Callable[[], None] | None = None


Handler = Callable[[Call, Params], Awaitable[dict[str, Any] | None]]
"""Types of the parameters were checked against the model, and by `Api.check`. -> the reply's members by the model's names."""
Check = Callable[[Operation, Params], None]
Pages = tuple[bytes, Callable[[str], Awaitable[Response | None]]]


def not_to_be_read(operation: Operation, error: ApiError) -> ApiError:
    del operation
    return error


def body_too_large(operation: str, size_bytes: int) -> ApiError:
    del size_bytes
    return RequestEntityTooLargeException(
        f"Request must be smaller than {CONTROL_BODY_BYTES_MAX} bytes for the {operation} operation"
    )


@dataclasses.dataclass(frozen=True)
class Api:
    """operations: by the model's names; what the model has and this has not is answered with 501.

    body_bytes_max: the largest request. render: how errors look, where it is not as the protocol has it. check: what parameters
    have to satisfy before a handler sees them, the model's constraints where a service has no words of its own.
    nul: what a request is told in which a text holds U+0000, where a service has an error of its own for it.
    unknown_action: what a form is told that names an operation the model has not. version_optional: forms may name none.
    pages: what anybody may read by a GET: what their paths begin with, and who answers for what follows.
    internal_error: what a failure of the platform is called.
    links: operations of the query protocol that anybody may ask for by a GET, its parameters in the query, without a signature.
    """

    model: ServiceModel
    operations: Mapping[str, Handler]
    body_bytes_max: int = CONTROL_BODY_BYTES_MAX
    too_large: Callable[[str, int], ApiError] = body_too_large
    render: Callable[[ApiError, str], Response] | None = None
    check: Check = validate
    nul: Callable[[Operation, ApiError], ApiError] = not_to_be_read
    unknown_action: str = "Could not find operation {name} for version {version}"
    version_optional: bool = False
    links: frozenset[str] = frozenset()
    pages: Pages | None = None
    internal_error: str = ServiceException.code

    @functools.cached_property
    def protocols(self) -> tuple[WireProtocol, ...]:
        """The preferred one first."""
        return tuple(PROTOCOLS[name] for name in self.model.protocols)

    @functools.cached_property
    def router(self) -> Router:
        """Of operations that have a path: not for the protocols in which all requests go to the same."""
        rest = any(name.startswith("rest") for name in self.model.protocols)
        return Router(self.model.operations.values() if rest else ())

    def regions(self, served: frozenset[bytes]) -> frozenset[bytes]:
        """Which a signature may be for."""
        return served | {GLOBAL_REGION} if self.model.global_endpoint is not None else served

    def protocol(self, spoken: str | None) -> WireProtocol:
        """That which a request speaks, if the service does, too. spoken: as `asked.spoken` tells."""
        for protocol in self.protocols:
            if protocol.name == spoken or (spoken == "query" and protocol.name == "ec2"):
                return protocol
        return self.protocols[0]

    def error(self, protocol: WireProtocol, error: ApiError, request_id: str) -> Response:
        if type(error) is ServiceException:
            error.code = self.internal_error
        if self.render is not None:
            return self.render(error, request_id)
        return protocol.error(self.model, error, request_id)
