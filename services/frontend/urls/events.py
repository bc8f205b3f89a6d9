"""A request to a function URL as the event that its function gets: payload format version 2.0."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from services.frontend.edge.identity import Caller

STAGE = "$default"
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization"}
)
"""Of the connection rather than of the request: functions do not see them."""
_TEXT = re.compile(r"\s*(?:text/[^;\s]+|application/(?:json|javascript|xml))\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_encode = msgspec.json.Encoder().encode


class UrlRequest(msgspec.Struct, frozen=True):
    """A request as it came in. raw_path, raw_query: not decoded. headers: lower-case names, in order, repeated ones apart.

    host_name: of the URL, without port. trace: value of the trace header, the client's or a new one.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    http_version: str
    source_ip: str
    port: int
    host_name: str
    url_id: str
    request_id: str
    trace: str
    now_s: float


def event_of(request: UrlRequest, caller: Caller) -> bytes:
    """The event as JSON."""
    headers, cookies = _headers(request, signed=caller.access_key_id is not None)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": STAGE,
        "rawPath": request.raw_path,
        "rawQueryString": request.raw_query,
    }
    if cookies:
        event["cookies"] = cookies
    event["headers"] = headers
    query = _query(request.raw_query)
    if query:
        event["queryStringParameters"] = query
    event["requestContext"] = _context(request, caller, headers.get("user-agent"))
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request.body, headers.get("content-type"))
    else:
        event["isBase64Encoded"] = False
    return _encode(event)


def _headers(request: UrlRequest, *, signed: bool) -> tuple[dict[str, str], list[str]]:
    """(headers with repeated ones joined, cookies), and what a load balancer adds."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in request.headers:
        # A signature is nobody's business behind the one who checked it.
        if name in HOP_BY_HOP or (signed and name == "authorization"):
            continue
        if name == "cookie":
            cookies += [cookie for part in value.split(";") if (cookie := part.strip())]
        else:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {request.source_ip}" if forwarded else request.source_ip
    headers["x-forwarded-port"] = str(request.port)
    headers["x-forwarded-proto"] = "http"
    headers["x-amzn-trace-id"] = request.trace
    return headers, cookies


def _query(raw: str) -> dict[str, str]:
    """Decoded; repeated parameters joined by commas."""
    found: dict[str, list[str]] = {}
    for pair in raw.split("&"):
        if pair:
            key, _, value = pair.partition("=")
            found.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return {key: ",".join(values) for key, values in found.items()}


def _context(request: UrlRequest, caller: Caller, user_agent: str | None) -> dict[str, Any]:
    http = {
        "method": request.method,
        "path": request.raw_path,
        "protocol": f"HTTP/{request.http_version}",
        "sourceIp": request.source_ip,
    }
    if user_agent is not None:
        http["userAgent"] = user_agent
    now = datetime.fromtimestamp(request.now_s, UTC)
    context: dict[str, Any] = {"accountId": caller.account_id, "apiId": request.url_id}
    if caller.access_key_id is not None:
        context["authorizer"] = caller.authorizer()
    return context | {
        "domainName": request.host_name,
        "domainPrefix": request.url_id,
        "http": http,
        "requestId": request.request_id,
        "routeKey": STAGE,
        "stage": STAGE,
        "time": f"{now.day:02}/{_MONTHS[now.month - 1]}/{now:%Y:%H:%M:%S} +0000",
        "timeEpoch": int(request.now_s * 1000),
    }


def _body(body: bytes, content_type: str | None) -> tuple[str, bool]:
    """(text, whether it is Base64). Only what its type calls text stays as it is; a form does not, as on AWS."""
    if content_type is not None and _TEXT.fullmatch(content_type):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True
