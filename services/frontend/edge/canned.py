"""What is answered where there is no request to answer: whole, in one piece, and the connection ends behind it."""

from __future__ import annotations

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE


def _canned(status: int, code: str, message: str) -> bytes:
    body = msgspec.json.encode({"message": message})
    head = STATUS_LINE[status] + f"content-type: application/json\r\ncontent-length: {len(body)}\r\n".encode()
    return head + f"x-amzn-errortype: {code}\r\nconnection: close\r\n\r\n".encode() + body


MALFORMED = _canned(400, "InvalidRequestContentException", "Bad Request")
HEADERS_TOO_LARGE = _canned(431, "InvalidRequestContentException", "Request headers are too large")
TOO_SLOW = _canned(408, "RequestTimeoutException", "The request was not received in time")
TOO_MANY_CONNECTIONS = _canned(503, "ServiceUnavailableException", "Too many connections")
