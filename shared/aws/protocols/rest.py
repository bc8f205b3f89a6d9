"""What the two REST protocols share: members in the path, the query, the headers and the status, bodies that are one member."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from shared.aws.protocols import scalars
from shared.aws.protocols.protocol import BODILESS, Headers, Params, Response, known
from shared.aws.routing import Route
from shared.aws.service_model import Kind, Location, Member, Operation, Shape
from shared.domain.errors import SerializationException

ReadBody = Callable[[Shape, bytes], Any]
"""(shape of the body's structure, body) -> its members."""


def parse(route: Route, query: Mapping[str, list[str]], headers: Mapping[str, str], body: bytes, read_body: ReadBody) -> Params:
    """headers: by lower-case name. Raises SerializationException. Members that were left out or null are absent."""
    shape = route.operation.input
    if shape is None:
        return {}
    params: Params = {}
    for member in shape.members.values():
        value = _outside_body(member, route.labels, query, headers)
        if value is not None:
            params[member.name] = value
    if shape.payload is not None:
        member = shape.members[shape.payload]
        if member.shape.kind is Kind.BLOB:
            params[member.name] = body
        elif member.shape.kind is Kind.STRING:
            params[member.name] = _utf8(body)
        elif body:
            params[member.name] = read_body(member.shape, body)
    elif any(member.location is Location.BODY for member in shape.members.values()):
        params.update(read_body(shape, body))
    return params


def _outside_body(member: Member, labels: Mapping[str, str], query: Mapping[str, list[str]], headers: Mapping[str, str]) -> Any:
    location = member.location
    if location is Location.BODY:
        return None
    if location is Location.URI:
        text = labels.get(member.wire_name)
    elif location is Location.HEADER:
        return _from_header(member, headers.get(member.wire_name.lower()))
    elif location is Location.QUERY:
        return _from_query(member, query)
    elif location is Location.HEADERS:
        prefix = member.wire_name.lower()
        return {name[len(prefix) :]: value for name, value in headers.items() if name.startswith(prefix)} or None
    else:
        return None
    return None if text is None else scalars.from_text(member.shape, text)


def _from_query(member: Member, query: Mapping[str, list[str]]) -> Any:
    shape = member.shape
    if shape.kind is Kind.MAP:
        one = known(shape.element).kind is not Kind.LIST
        return {name: values[0] if one else values for name, values in query.items()} or None
    values = query.get(member.wire_name)
    if values is None:
        return None
    if shape.kind is Kind.LIST:
        return [scalars.from_text(known(shape.element), value) for value in values]
    return scalars.from_text(shape, values[0])


def _from_header(member: Member, text: str | None) -> Any:
    shape = member.shape
    if text is None:
        return None
    if member.json_text:
        try:
            return msgspec.json.decode(scalars.blob(text))
        except msgspec.DecodeError as error:
            raise SerializationException(f"Could not parse the header {member.wire_name} into json: {error}") from error
    if shape.kind is Kind.LIST:
        element = known(shape.element)
        if element.kind is Kind.TIMESTAMP:
            # Dates have a comma of their own.
            parts = text.split(",")
            return [scalars.from_text(element, ",".join(parts[at : at + 2]).strip()) for at in range(0, len(parts), 2)]
        return [scalars.from_text(element, part) for part in _split_list(text)]
    return scalars.from_text(shape, text)


def _split_list(text: str) -> list[str]:
    """Parts between commas; one in quotation marks may hold commas, and quotation marks behind a backslash."""
    parts: list[str] = []
    part, quoted, at = "", False, 0
    while at < len(text):
        character = text[at]
        if quoted and character == "\\" and text[at + 1 : at + 2] == '"':
            part += '"'
            at += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            parts.append(part.strip())
            part = ""
        else:
            part += character
        at += 1
    return [*parts, part.strip()]


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise SerializationException(f"The body is no UTF-8: {error}") from error


def reply_outside_body(operation: Operation, reply: Mapping[str, Any]) -> tuple[int, Headers]:
    """Status and headers. The status is the reply's StatusCode, or the model's."""
    status = int(reply.get("StatusCode") or operation.status)
    headers: Headers = []
    for member in operation.output.members.values() if operation.output is not None else ():
        value = reply.get(member.name)
        if value is None:
            continue
        if member.location is Location.HEADER:
            headers.append((member.wire_name.lower().encode("latin-1"), _to_header(member, value).encode("latin-1")))
        elif member.location is Location.HEADERS:
            prefix = member.wire_name.lower()
            headers += [((prefix + name).encode("latin-1"), str(text).encode("latin-1")) for name, text in value.items()]
        elif member.location is Location.STATUS:
            status = int(value)
    return status, headers


def _to_header(member: Member, value: Any) -> str:
    if member.json_text:
        return base64.b64encode(msgspec.json.encode(value)).decode()
    if member.shape.kind is Kind.LIST:
        element = known(member.shape.element)
        return ", ".join(_quoted(scalars.to_text(element, item, scalars.RFC822), element) for item in value)
    return scalars.to_text(member.shape, value, scalars.RFC822)


def _quoted(text: str, element: Shape) -> str:
    if element.kind is not Kind.STRING or ("," not in text and '"' not in text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def reply(
    operation: Operation, reply: Mapping[str, Any] | None, content_type: bytes, write_body: Callable[[Shape, Any, str], bytes]
) -> Response:
    """write_body: (shape, value, name of the member that it is, or of the shape) -> the body of a structure."""
    shape = operation.output
    reply = reply or {}
    status, headers = reply_outside_body(operation, reply)
    if shape is None or status in BODILESS:
        return Response(status, headers, b"")
    if shape.payload is None:
        body = write_body(shape, reply, shape.wire_name or shape.name)
        if body:
            headers.append((b"content-type", content_type))
        return Response(status, headers, body)
    value = reply.get(shape.payload)
    if value is None:
        return Response(status, headers, b"")
    member = shape.members[shape.payload]
    if member.shape.kind is Kind.BLOB:
        return Response(status, headers, bytes(value))
    if member.shape.kind is Kind.STRING:
        return Response(status, headers, str(value).encode())
    return Response(status, headers, write_body(member.shape, value, member.wire_name))
