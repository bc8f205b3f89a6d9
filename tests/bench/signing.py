"""Requests as an SDK sends them, each signed anew with Signature Version 4: a request that is sent twice meets caches (of the
signature's key, of the processor) in a state that no client of a real cluster finds them in."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SIGNED = "content-type;host;x-amz-date"
SIGNED_FOR_EVENT = "content-type;host;x-amz-date;x-amz-invocation-type"


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int
    access_key_id: str = "test"
    secret_access_key: str = "test"
    region: str = "us-east-1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class Calls:
    """Invocations to be sent: `count` of these functions in turn. payload: a JSON object; each call's gets a number of its own."""

    functions: Sequence[str]
    payload: str
    count: int
    event: bool = False


def requests(endpoint: Endpoint, calls: Calls) -> Iterator[bytes]:
    """Good for 15 minutes. About 12 us each, so that a second of load is signed in a third of a second, ahead of it."""
    signed_at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{signed_at[:8]}/{endpoint.region}/lambda/aws4_request"
    key = b"AWS4" + endpoint.secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    host = f"{endpoint.host}:{endpoint.port}"
    kind = "x-amz-invocation-type:Event\n" if calls.event else ""
    names = SIGNED_FOR_EVENT if calls.event else SIGNED
    lines = f"content-type:application/json\nhost:{host}\nx-amz-date:{signed_at}\n{kind}\n{names}"
    head = f"Host: {host}\r\nContent-Type: application/json\r\nX-Amz-Date: {signed_at}\r\n"
    head += "X-Amz-Invocation-Type: Event\r\n" if calls.event else ""
    head += f"Authorization: AWS4-HMAC-SHA256 Credential={endpoint.access_key_id}/{scope}, SignedHeaders={names}, Signature="
    first = time.time_ns()
    start = calls.payload.rstrip("}") + ', "call": '
    for number in range(calls.count):
        path = f"/2015-03-31/functions/{calls.functions[number % len(calls.functions)]}/invocations"
        body = f"{start}{first + number}}}".encode()
        canonical = f"POST\n{path}\n\n{lines}\n{hashlib.sha256(body).hexdigest()}".encode()
        to_sign = f"AWS4-HMAC-SHA256\n{signed_at}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}".encode()
        signature = hmac.digest(key, to_sign, "sha256").hex()
        yield f"POST {path} HTTP/1.1\r\n{head}{signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
