"""query: a form with Action and Version, answered with XML. ec2 is its elder brother, who differs in names and wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.aws.protocols.form import FormReader, read_form
from shared.aws.protocols.protocol import Headers, Params, Response, fault, query_code
from shared.aws.protocols.xml_values import XmlWriter, element
from shared.aws.routing import Route
from shared.aws.service_model import Operation, ServiceModel
from shared.domain.errors import ApiError

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


class Query:
    name = "query"
    _form = FormReader()
    _xml = XmlWriter(query_names=True)

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        """body: the form, or of a GET request its query string."""
        del query, headers
        shape = route.operation.input
        return {} if shape is None else self._form.structure(shape, read_form(body))

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        result = ""
        if operation.output is not None:
            result = self._xml.structure(f"{operation.name}Result", operation.output, reply or {})
        metadata = f"<ResponseMetadata>{element('RequestId', request_id)}</ResponseMetadata>"
        name = f"{operation.name}Response"
        root = f'<{name} xmlns="{service.namespace}">{result}{metadata}</{name}>'
        return Response(200, headers_of(request_id), root.encode())

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response:
        parts = [element("Type", fault(error)), element("Code", wire_code(service, error)), element("Message", error.message)]
        parts += [element(name, text) for name, text in error.extra.items()]
        if service.error_detail:
            parts.append("<Detail/>")
        inner = f"<Error>{''.join(parts)}</Error>{element('RequestId', request_id)}"
        body = f'<ErrorResponse xmlns="{service.namespace}">{inner}</ErrorResponse>'
        return Response(error.status, headers_of(request_id), body.encode())


class Ec2:
    name = "ec2"
    _form = FormReader(plain_lists=True)
    _xml = XmlWriter()

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        del query, headers
        shape = route.operation.input
        return {} if shape is None else self._form.structure(shape, read_form(body))

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        inner = element("requestId", request_id)
        inner += "" if operation.output is None else self._xml.members(operation.output, reply or {})
        name = f"{operation.name}Response"
        body = f'{_DECLARATION}<{name} xmlns="{service.namespace}">{inner}</{name}>'
        return Response(200, headers_of(request_id), body.encode())

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response:
        parts = element("Code", wire_code(service, error)) + element("Message", error.message)
        errors = f"<Errors><Error>{parts}</Error></Errors>{element('RequestID', request_id)}"
        return Response(error.status, headers_of(request_id), f"{_DECLARATION}<Response>{errors}</Response>".encode())


def headers_of(request_id: str) -> Headers:
    return [(b"content-type", b"text/xml"), (b"x-amzn-requestid", request_id.encode())]


_CODES = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "SerializationException": "MalformedInput",
    "ServiceException": "InternalFailure",
    "TooManyRequestsException": "Throttling",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}
"""What all services of these protocols call what is not their own."""


def wire_code(service: ServiceModel, error: ApiError) -> str:
    code = query_code(service, error)
    return _CODES.get(code, code) if error.code not in service.failures else code
