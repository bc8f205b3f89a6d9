"""rest-xml: an operation is a method and a path, bodies are XML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.aws.protocols import rest
from shared.aws.protocols.protocol import Params, Response, fault
from shared.aws.protocols.xml_values import XmlWriter, element, read_document, read_structure
from shared.aws.routing import Route
from shared.aws.service_model import Location, Operation, ServiceModel, Shape
from shared.domain.errors import ApiError

BARE_ERRORS = frozenset({"s3"})
"""Services whose errors have no ErrorResponse around them."""
_CODES = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "AuthorizationHeaderMalformed",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "AccessDenied",
    "ServiceException": "InternalError",
    "TooManyRequestsException": "SlowDown",
    "UnrecognizedClientException": "InvalidAccessKeyId",
}
"""What S3 calls what is not a service's own."""
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XML = XmlWriter()


class RestXml:
    name = "rest-xml"

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        return rest.parse(route, query, headers, body, _read_body)

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        del service
        found = rest.reply(operation, reply, b"application/xml", _write_body)
        own = [(b"x-amz-request-id", request_id.encode())]
        return Response(found.status, [*found.headers, *own], found.body)

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response:
        parts = element("Code", _CODES.get(error.code, error.code)) + element("Message", error.message)
        parts += "".join(element(name, text) for name, text in error.extra.items())
        if service.name in BARE_ERRORS:
            body = f"<Error>{parts}{element('RequestId', request_id)}</Error>"
        else:
            inner = f"<Error>{element('Type', fault(error))}{parts}</Error>{element('RequestId', request_id)}"
            body = f'<ErrorResponse xmlns="{service.namespace}">{inner}</ErrorResponse>'
        headers = [(b"content-type", b"application/xml"), (b"x-amz-request-id", request_id.encode())]
        return Response(error.status, headers, (_DECLARATION + body).encode())


def _read_body(shape: Shape, body: bytes) -> Params:
    return read_structure(shape, read_document(body)) if body else {}


def _write_body(shape: Shape, value: Any, name: str) -> bytes:
    """Nothing for a structure whose members are all elsewhere."""
    if not any(member.location is Location.BODY for member in shape.members.values()):
        return b""
    return (_DECLARATION + _XML.value(name, shape, value, shape.namespace)).encode()
