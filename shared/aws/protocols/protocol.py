"""What every protocol does: read an operation's parameters, write its reply, write an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from shared.aws.routing import Route
from shared.aws.service_model import ErrorShape, Operation, ServiceModel, Shape
from shared.domain.errors import ApiError

Params = dict[str, Any]
"""By the members' names in the model: str, int, float, bool, bytes (blobs), float Unix seconds (timestamps), list, dict."""
Headers = list[tuple[bytes, bytes]]
BODILESS = frozenset({204, 304})


class Response(msgspec.Struct, frozen=True):
    """headers: lower-case names, without content-length and what every response has."""

    status: int
    headers: Headers
    body: bytes


class WireProtocol(Protocol):
    """name: as botocore's models have it."""

    @property
    def name(self) -> str: ...

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        """headers: by lower-case name. Raises SerializationException. Members that were left out or null are absent."""
        ...

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        """reply: by the model's member names; None values and members that the model does not know are left out."""
        ...

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response: ...


def known(shape: Shape | None) -> Shape:
    """The element or key of a list or a map."""
    assert shape is not None
    return shape


def modelled(service: ServiceModel, error: ApiError) -> ErrorShape | None:
    """The model's description of an error, by its name there or by its code in the query protocols."""
    found = service.failures.get(error.code)
    if found is None:
        found = next((failure for failure in service.failures.values() if failure.code == error.code), None)
    return found


def query_code(service: ServiceModel, error: ApiError) -> str:
    """The code that the query protocols have for an error."""
    found = service.failures.get(error.code)
    return service.query_codes.get(error.code, error.code) if found is None else found.code


def fault(error: ApiError) -> str:
    return "Sender" if error.status < 500 else "Receiver"


def message_key(service: ServiceModel, error: ApiError) -> str:
    """`Message` where the error's shape says so."""
    found = modelled(service, error)
    members = () if found is None else found.shape.members
    return "Message" if "Message" in members and "message" not in members else "message"
