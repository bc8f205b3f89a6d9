"""Every answer of a sandbox's API: the one place that knows how they look on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from services.worker.sandbox.spec import RuntimeInvocation
from shared.domain.limits import RESPONSE_BYTES_MAX

_REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    431: "Request Header Fields Too Large",
}

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ApiError(Exception):
    """A call that is answered with an error document."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


def invalid_request_id() -> ApiError:
    return ApiError(400, "InvalidRequestID", "Invalid request ID")


def invalid_response_mode() -> ApiError:
    return ApiError(400, "InvalidFunctionResponseMode", "Invalid function response mode")


def truncated() -> ApiError:
    return ApiError(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


def invalid_transition(text: str) -> ApiError:
    return ApiError(403, "InvalidStateTransition", text)


def too_large(bytes_max: int = RESPONSE_BYTES_MAX) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({bytes_max} bytes).")


def unknown_path() -> ApiError:
    return ApiError(404, "NotFound", "Not Found")


def wrong_method() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "Method Not Allowed")


def bad_request() -> ApiError:
    return ApiError(400, "InvalidRequest", "Bad Request")


def headers_too_large() -> ApiError:
    return ApiError(431, "RequestHeadersTooLarge", "Request Header Fields Too Large")


def extension_error(error_type: str, message: str) -> ApiError:
    return ApiError(403, f"Extension.{error_type}", message)


def invalid_request_format(message: str) -> ApiError:
    return ApiError(403, "InvalidRequestFormat", message)


def error(failure: ApiError, *, close: bool = False) -> bytes:
    body = msgspec.json.encode({"errorMessage": failure.message, "errorType": failure.error_type})
    return _reply(failure.status, "application/json", body, close)


def accepted() -> bytes:
    return _reply(202, "application/json", b'{"status":"OK"}\n', False)


def document(body: object, **headers: str) -> bytes:
    """200 with a JSON document. headers: further ones, by name."""
    return _reply(200, "application/json", msgspec.json.encode(body), False, headers)


def extension_event(identifier: str, body: object) -> bytes:
    return document(body, **{"Lambda-Extension-Event-Identifier": identifier})


def pong() -> bytes:
    return _reply(200, "text/plain", b"pong", False)


def event(invocation: RuntimeInvocation) -> tuple[bytes, bytes]:
    """Head and body: the event itself is not copied."""
    lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        f"Content-Length: {len(invocation.payload)}",
        f"Lambda-Runtime-Aws-Request-Id: {invocation.request_id}",
        f"Lambda-Runtime-Deadline-Ms: {invocation.deadline_ms}",
        f"Lambda-Runtime-Invoked-Function-Arn: {_one_line(invocation.invoked_arn)}",
    ]
    if invocation.trace:
        lines.append(f"Lambda-Runtime-Trace-Id: {_one_line(invocation.trace)}")
    if invocation.client_context:
        lines.append(f"Lambda-Runtime-Client-Context: {_one_line(invocation.client_context)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), invocation.payload


def _one_line(text: str) -> str:
    """A header's value: line ends, which only JSON's white space can hold here, would end it."""
    return text.replace("\r", " ").replace("\n", " ")


def closing(head: bytes) -> bytes:
    """An answer behind which the connection is closed, as its asker wants."""
    return head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def _reply(status: int, content_type: str, body: bytes, close: bool, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (head + ("Connection: close\r\n\r\n" if close else "\r\n")).encode() + body
