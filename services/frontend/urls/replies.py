"""What a function returned as the HTTP answer of its URL.

A JSON object with a statusCode says itself what the answer is; anything else is the body of a 200, written anew: a text
without its quotes, whatever else without the blanks that a runtime may have put in. What says something that
cannot be sent is answered with AWS's 502.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

STATUS_MIN, STATUS_MAX = 200, 599
"""AWS takes 100 to 199 too, but none of these can end an exchange."""
HEADERS_BYTES_MAX = 64 * 1024
BODILESS = frozenset({204, 304})
JSON_TYPE = (b"content-type", b"application/json")
DROPPED = frozenset(
    {"transfer-encoding", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "x-amzn-requestid", "x-amzn-trace-id"}
)
REMAPPED = frozenset({"connection", "content-length", "date", "server", "www-authenticate"})
"""Headers that are the platform's: a function's own come out under another name."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_STATUS = re.compile(r"[0-9]{3}")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

Headers = list[tuple[bytes, bytes]]


class UrlReply(msgspec.Struct, frozen=True):
    """headers: lower-case names, without content-length. body: of a status that has none, empty."""

    status: int
    headers: Headers
    body: bytes


class MalformedReplyError(ValueError):
    """The function's answer cannot be sent."""


INTERNAL_SERVER_ERROR = UrlReply(502, [JSON_TYPE], b"Internal Server Error")


def mapped(payload: bytes) -> UrlReply:
    """The answer of a URL in the BUFFERED mode. payload: JSON, as the function returned it. Raises MalformedReplyError."""
    try:
        value = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedReplyError("not JSON") from error
    if not isinstance(value, dict) or value.get("statusCode") is None:
        return UrlReply(200, [JSON_TYPE], value.encode() if isinstance(value, str) else _encode(value))
    status, headers = head_of(value)
    return UrlReply(status, headers, b"" if status in BODILESS else _body(value))


def unmapped(payload: bytes) -> UrlReply:
    """The answer in the RESPONSE_STREAM mode of a function that does not stream: all that it returned, as it is."""
    return UrlReply(200, [JSON_TYPE], payload)


def head_of(document: dict[str, Any]) -> tuple[int, Headers]:
    """Status and headers of an object with statusCode, headers and cookies; a stream's prelude has the same.

    Raises MalformedReplyError.
    """
    headers = _headers(document.get("headers"))
    for cookie in _cookies(document.get("cookies")):
        headers.append((b"set-cookie", _value("cookie", cookie)))
    if sum(len(name) + len(value) + 4 for name, value in headers) > HEADERS_BYTES_MAX:
        raise MalformedReplyError("too many headers")
    if not any(name == b"content-type" for name, _ in headers):
        headers.append(JSON_TYPE)
    return _status(document["statusCode"]), headers


def _status(value: object) -> int:
    """A number, or a text that is one."""
    if isinstance(value, str) and _STATUS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not STATUS_MIN <= value <= STATUS_MAX:
        raise MalformedReplyError("statusCode is not an HTTP status")
    return value


def _headers(value: object) -> Headers:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise MalformedReplyError("headers is not an object")
    headers: Headers = []
    for given, text in value.items():
        name = given.lower()
        if _NAME.fullmatch(name) is None:
            raise MalformedReplyError("a header's name is not one")
        if text is None or name in DROPPED:
            continue
        sent = f"x-amzn-remapped-{name}" if name in REMAPPED else name
        headers.append((sent.encode(), _value(name, text)))
    return headers


def _value(name: str, value: object) -> bytes:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, dict | list) or _VALUE.fullmatch(text := str(value)) is None:
        raise MalformedReplyError(f"the value of {name} is not one of a header")
    return text.strip(" \t").encode()


def _cookies(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(cookie, str) for cookie in value):
        raise MalformedReplyError("cookies is not a list of texts")
    return value


def _body(document: dict[str, Any]) -> bytes:
    body, encoded = document.get("body"), document.get("isBase64Encoded")
    if encoded is not None and not isinstance(encoded, bool):
        raise MalformedReplyError("isBase64Encoded is not a boolean")
    if body is None:
        return b""
    if not isinstance(body, str):
        return _encode(body)
    if not encoded:
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedReplyError("the body is not Base64") from error
