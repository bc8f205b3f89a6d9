"""rest-json: an operation is a method and a path, bodies are JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.aws.protocols import json_values, rest
from shared.aws.protocols.protocol import Params, Response, message_key
from shared.aws.routing import Route
from shared.aws.service_model import Operation, ServiceModel, Shape
from shared.domain.errors import ApiError


def parse_params(route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
    """headers: by lower-case name. Raises SerializationException. Members that were left out or null are absent."""
    return rest.parse(route, query, headers, body, _read_body)


def serialize_reply(operation: Operation, reply: Mapping[str, Any] | None) -> Response:
    """reply: by the model's member names; None values and members that the model does not know are left out."""
    return rest.reply(operation, reply, b"application/json", _write_body)


class RestJson:
    name = "rest-json"

    def parse(self, route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes) -> Params:
        return parse_params(route, query, headers, body)

    def reply(self, service: ServiceModel, operation: Operation, reply: Mapping[str, Any] | None, request_id: str) -> Response:
        del service
        found = serialize_reply(operation, reply)
        return Response(found.status, [*found.headers, (b"x-amzn-requestid", request_id.encode())], found.body)

    def error(self, service: ServiceModel, error: ApiError, request_id: str) -> Response:
        headers = [
            (b"content-type", b"application/json"),
            (b"x-amzn-requestid", request_id.encode()),
            (b"x-amzn-errortype", error.code.encode()),
        ]
        fields = {message_key(service, error): error.message, **error.extra}
        return Response(error.status, headers, json_values.encode(fields))


def _read_body(shape: Shape, body: bytes) -> Params:
    return json_values.read_structure(shape, json_values.read_object(body))


def _write_body(shape: Shape, value: Any, name: str) -> bytes:
    del name
    return json_values.encode(json_values.write(shape, value))
