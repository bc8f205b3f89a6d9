"""The request that an event becomes at an API destination. Pure.

Source: "API destinations as targets", "Headers in requests to API destinations" and "Connections for HTTP endpoint targets" in
the EventBridge user guide: of what target and connection both name, the connection's counts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from shared.events.records import ApiDestinationParameters

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_HEADERS = (
    ("User-Agent", "Amazon/EventBridge/ApiDestinations"),
    ("Content-Type", "application/json; charset=utf-8"),
    ("Range", "bytes=0-1048575"),
)
OWN_HEADERS = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "te", "upgrade"})
"""Which nobody sets but who sends the request."""


class Invocation(msgspec.Struct, frozen=True):
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def invocation_of(
    settings: Mapping[str, Any],
    auth: Mapping[str, Any],
    rights: Iterable[tuple[str, str]],
    given: ApiDestinationParameters,
    payload: bytes,
) -> Invocation:
    """settings: of the destination. auth: the connection's AuthParameters. rights: headers that authorize the request."""
    method, more = settings["HttpMethod"], auth.get("InvocationHttpParameters") or {}
    headers = _merged(DEFAULT_HEADERS, given.headers, named(more, "HeaderParameters"), rights)
    return Invocation(
        method,
        _url(settings["InvocationEndpoint"], given.path_values, [*given.query, *named(more, "QueryStringParameters")]),
        tuple(headers),
        b"" if method in BODILESS else _body(payload, dict(named(more, "BodyParameters"))),
    )


def rights_of(kind: str, auth: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers of a connection that needs nobody else to authorize it."""
    if kind == "BASIC":
        basic = auth["BasicAuthParameters"]
        return [("Authorization", f"Basic {_base64(basic['Username'], basic['Password'])}")]
    key = auth["ApiKeyAuthParameters"]
    return [(key["ApiKeyName"], key["ApiKeyValue"])]


def named(parameters: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Of ConnectionHttpParameters."""
    return [(one["Key"], one.get("Value", "")) for one in parameters.get(kind) or ()]


def with_query(url: str, more: Iterable[tuple[str, str]]) -> str:
    """Of a name that comes twice, the last counts."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(dict(more)))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _url(endpoint: str, path_values: Iterable[str], query: Iterable[tuple[str, str]]) -> str:
    """Each star of the endpoint stands for one of the values, in their order."""
    for value in path_values:
        endpoint = endpoint.replace("*", quote(value, safe=""), 1)
    return with_query(endpoint, query)


def _merged(*groups: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a header that comes twice, the last counts."""
    headers = {name.lower(): (name, value) for group in groups for name, value in group}
    return [header for name, header in headers.items() if name not in OWN_HEADERS]


def _body(payload: bytes, more: dict[str, str]) -> bytes:
    """Parameters of the connection are members of a payload that is an object."""
    if not more:
        return payload
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return payload
    return json.dumps({**document, **more}, separators=(",", ":")).encode() if isinstance(document, dict) else payload


def _base64(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
