"""botocore's own signers as clients of the verifier."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.aws.signatures.sigv4 import Verifier
from shared.domain.errors import ApiError, AuthError

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "127.0.0.1:9000"
PATH = "/2015-03-31/functions/hello/invocations"
Request = tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]], bytes]


def verifier(now: Callable[[], float] = time.time, find: Any = None) -> Verifier:
    def find_secret(key: str, token: str | None) -> bytes | None:
        return SECRET.encode() if key == KEY and token is None else None

    return Verifier(regions=["us-east-1"], service="lambda", find_secret=find or find_secret, now=now)


def signed(
    method: str = "POST",
    path: str = PATH,
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"{}",
    *,
    key: str = KEY,
    secret: str = SECRET,
    token: str | None = None,
    region: str = "us-east-1",
    service: str = "lambda",
    signer: type[SigV4Auth] = SigV4Auth,
) -> Request:
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, data=body, headers=headers or {})
    signer(Credentials(key, secret, token), service, region).add_auth(request)
    return method.encode(), path.encode(), query.encode(), wire_headers(request), body


def presigned(
    method: str = "GET",
    path: str = "/2015-03-31/functions/hello",
    query: str = "",
    headers: dict[str, str] | None = None,
    *,
    expires: int = 3600,
    token: str | None = None,
    secret: str = SECRET,
    signer: Any = SigV4QueryAuth,
) -> Request:
    """As botocore's presigner makes it; the query of the URL is the request's."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers=headers or {})
    signer(Credentials(KEY, secret, token), "lambda", "us-east-1", expires=expires).add_auth(request)
    parts = urlsplit(request.url)
    return method.encode(), parts.path.encode(), parts.query.encode(), wire_headers(request), b""


def wire_headers(request: AWSRequest) -> list[tuple[bytes, bytes]]:
    found = [(b"host", HOST.encode())]
    for name, value in request.prepare().headers.items():
        found.append((name.lower().encode(), value if isinstance(value, bytes) else value.encode()))
    return found


def with_header(request: Request, name: bytes, change: Callable[[bytes], bytes]) -> Request:
    method, path, query, headers, body = request
    return method, path, query, [(n, change(v) if n == name else v) for n, v in headers], body


def refused(request: Request, by: Verifier | None = None) -> AuthError:
    with pytest.raises(AuthError) as raised:
        (by or verifier()).verify(*request)
    assert raised.value.status == 403
    return raised.value


def broken(request: Request, by: Verifier | None = None) -> ApiError:
    """Refused in any way that a client is told."""
    with pytest.raises(ApiError) as raised:
        (by or verifier()).verify(*request)
    assert raised.value.status in (400, 403)
    return raised.value
