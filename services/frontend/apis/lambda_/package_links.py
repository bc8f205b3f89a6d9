"""Links from which a package can be downloaded for a while: the Location of a function's code and of a layer's content."""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode

from shared.aws.routing import parse_query
from shared.domain.errors import AuthError, ResourceNotFoundException, ServiceException
from shared.registry.packages import PackageError, PackageStore
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


async def download(settings: Settings, packages: PackageStore, sha256: str, query: bytes) -> tuple[int, AsyncIterator[bytes]]:
    """Size in bytes and content of the package of a link, wherever packages are kept: clients need not reach that place.

    Raises AuthError for a link that `sign` did not make or that has expired, ResourceNotFoundException for one whose package is
    gone, ServiceException.
    """
    values = parse_query(query.decode("latin-1"))
    expires, signature = values.get("expires", [""])[0], values.get("signature", [""])[0]
    if not verify(settings, sha256, expires, signature):
        raise AuthError("AccessDeniedException", "The link is not valid, or not any more.")
    try:
        size_bytes = await packages.size(sha256)
    except PackageError as error:
        raise ServiceException("The code package cannot be reached. Try again.") from error
    if size_bytes is None:
        raise ResourceNotFoundException("The code package does not exist any more.")
    return size_bytes, packages.parts(sha256, size_bytes)


def _signature(settings: Settings, sha256: str, expires: str) -> str:
    key = settings.cluster_secret.get_secret_value().encode() or _PROCESS_KEY
    message = f"package\n{sha256}\n{expires}".encode("utf-8", "replace")
    return hmac.new(key, message, hashlib.sha256).hexdigest()
