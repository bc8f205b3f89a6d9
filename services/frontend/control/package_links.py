"""Links from which a package can be downloaded for a while: GetFunction's Code.Location."""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import secrets
import time
from urllib.parse import urlencode

from shared.settings import Settings

VALID_S = 600
PATH = "/_lambdad/packages/"
endpoint: contextvars.ContextVar[str | None] = contextvars.ContextVar("endpoint", default=None)
"""`http://host:port` as the client of the current request reaches us, set where requests come in."""
_PROCESS_KEY = secrets.token_bytes(32)


def sign(settings: Settings, sha256: str, *, now_s: float | None = None) -> str:
    """A URL of this endpoint for a package, valid for VALID_S seconds."""
    expires = int(time.time() if now_s is None else now_s) + VALID_S
    base = endpoint.get() or f"http://{settings.frontend.host}:{settings.frontend.port}"
    query = urlencode({"expires": expires, "signature": _signature(settings, sha256, str(expires))})
    return f"{base}{PATH}{sha256}?{query}"


def verify(settings: Settings, sha256: str, expires: str, signature: str, *, now_s: float | None = None) -> bool:
    """Whether a link's parts are what `sign` made and still valid. Never raises, whatever a client sent."""
    good = hmac.compare_digest(_signature(settings, sha256, expires).encode(), signature.encode("utf-8", "replace"))
    now = time.time() if now_s is None else now_s
    return good and now <= int(expires)


def _signature(settings: Settings, sha256: str, expires: str) -> str:
    key = settings.cluster_secret.get_secret_value().encode() or _PROCESS_KEY
    message = f"package\n{sha256}\n{expires}".encode("utf-8", "replace")
    return hmac.new(key, message, hashlib.sha256).hexdigest()
