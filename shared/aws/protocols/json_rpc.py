"""json 1.0 and 1.1: the operation is in X-Amz-Target, everything else in a JSON body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.aws.protocols import json_values
from shared.aws.protocols.protocol import Headers, Params, Response, fault, message_key, query_code
from shared.aws.routing import Route
from shared.aws.service_model import Operation, ServiceModel
from shared.domain.errors import ApiError, AuthError


class Json:
    name = "json"

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        del query, headers
        shape = route.operation.input
        found = json_values.read_object(body)
        return {} if shape is None else json_values.read_structure(shape, found)

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        # AWS answers an operation without output with an empty body.
        shape = operation.output
        body = b"" if shape is None else json_values.encode(json_values.write_structure(shape, reply or {}))
        return Response(200, _headers(service, request_id), body)

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response:
        headers = _headers(service, request_id)
        if service.query_compatible:
            headers.append(query_error(service, error))
        fields = {"__type": error.code, message_key(service, error): error.message, **error.extra}
        return Response(status_of(error), headers, json_values.encode(fields))


def status_of(error: ApiError) -> int:
    """A signature that is wrong is a bad request like any other in these protocols."""
    return 400 if isinstance(error, AuthError) else error.status


def query_error(service: ServiceModel, error: ApiError) -> tuple[bytes, bytes]:
    """The header by which clients of a service that once spoke the query protocol still find the old code."""
    return b"x-amzn-query-error", f"{query_code(service, error)};{fault(error)}".encode()


def _headers(service: ServiceModel, request_id: str) -> Headers:
    content_type = f"application/x-amz-json-{service.json_version}"
    return [(b"content-type", content_type.encode()), (b"x-amzn-requestid", request_id.encode())]
