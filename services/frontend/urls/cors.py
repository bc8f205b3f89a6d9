"""Cross-origin requests to a function URL: preflights are answered here, and answers tell browsers who may read them.

Source: AWS's page on function URLs. Settings that a browser cannot use as they stand (a wildcard beside credentials) are
answered with what the request asked for, as AWS does.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.frontend.urls.replies import Headers
from shared.domain.function_urls import Cors

ANY = "*"
PREFIX = b"access-control-"


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight_headers(cors: Cors, headers: Mapping[str, str]) -> Headers:
    """Headers of the answer to a preflight; none when the origin or the method is not allowed."""
    allowed = response_headers(cors, headers, preflight=True)
    method = headers["access-control-request-method"]
    if not allowed or not _has(cors.allow_methods, method, simple=("GET", "HEAD", "POST")):
        return []
    asked = headers.get("access-control-request-headers", "")
    for name, values, wanted in (
        (b"access-control-allow-methods", cors.allow_methods, method),
        (b"access-control-allow-headers", cors.allow_headers, asked),
    ):
        text = _listed(values, wanted, credentials=bool(cors.allow_credentials))
        if text:
            allowed.append((name, text.encode("latin-1", "replace")))
    if cors.max_age is not None:
        allowed.append((b"access-control-max-age", str(cors.max_age).encode()))
    return allowed


def response_headers(cors: Cors, headers: Mapping[str, str], *, preflight: bool = False) -> Headers:
    """Headers that are added to an answer; none for a request without an origin, or with one that is not allowed."""
    origin = headers.get("origin")
    if origin is None or not _has(cors.allow_origins, origin):
        return []
    wild = ANY in (cors.allow_origins or ()) and not cors.allow_credentials
    found: Headers = [(b"access-control-allow-origin", (ANY if wild else origin).encode("latin-1", "replace"))]
    if not wild:
        found.append((b"vary", b"Origin"))
    if cors.allow_credentials:
        found.append((b"access-control-allow-credentials", b"true"))
    if cors.expose_headers and not preflight:
        found.append((b"access-control-expose-headers", ",".join(cors.expose_headers).encode("latin-1", "replace")))
    return found


def _has(allowed: tuple[str, ...] | None, wanted: str, *, simple: tuple[str, ...] = ()) -> bool:
    """simple: what a browser may send without having been allowed to."""
    if not allowed:
        return wanted in simple
    return ANY in allowed or wanted.lower() in (value.lower() for value in allowed)


def _listed(values: tuple[str, ...] | None, wanted: str, *, credentials: bool) -> str:
    if not values:
        return ""
    return wanted if credentials and ANY in values else ",".join(values)
