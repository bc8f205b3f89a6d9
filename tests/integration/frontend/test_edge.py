"""More of what clients can send by mistake or on purpose: odd HTTP, odd paths and methods, odd bodies, forms of signatures."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from tests.integration.frontend.conftest import KEY, SECRET, Frontend
from tests.support import PATIENCE_S

HEAD = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\n"
LIST = b"GET /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


async def listed(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"Functions": [], "NextMarker": str(sorted(request.items()))}


@pytest.fixture
def listing(open_frontend: Frontend) -> Frontend:
    open_frontend.operations.clear()
    open_frontend.operations["ListFunctions"] = listed
    return open_frontend


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n{}",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: +2\r\n\r\n{}",
        HEAD + b"Content-Length: 0x2\r\n\r\n{}",
        HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
        HEAD + b"Content-Length: \r\n\r\n{}",
        HEAD + b"X-Folded: a\r\n\x00 b\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"X-Null: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"\x01: b\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b": no name\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}\r\n0\r\n\r\n",
        b"GET /2015-03-31/func tions HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /2015-03-31/functions HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"get /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(open_frontend: Frontend, raw: bytes) -> None:
    answer = await open_frontend.send(raw)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert open_frontend.backend.invocations == []


async def test_a_long_target_is_too_large(open_frontend: Frontend) -> None:
    for raw in (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /" + b"a" * 500_000):
        assert (await open_frontend.send(raw)).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("drop", [b"x" * 4_096, b"1;" + b"e" * 4_096 + b"\r\n \r\n"], ids=["extension", "extensions"])
async def test_chunk_extensions_have_an_end(open_frontend: Frontend, drop: bytes) -> None:
    start = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" if not drop.startswith(b"1;") else b"")
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    writer.write(start)
    answer = asyncio.create_task(reader.read())
    while not answer.done() and time.monotonic() - began < PATIENCE_S:
        writer.write(drop)
        await asyncio.sleep(0.01)
    writer.close()
    assert answer.done(), "the server still reads"
    assert open_frontend.backend.invocations == []


async def test_trailers_that_never_end_are_cut(open_frontend: Frontend) -> None:
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    answer = asyncio.create_task(reader.read())
    while not answer.done() and time.monotonic() - began < PATIENCE_S:
        writer.write(b"X: y\r\n" * 100)
        await asyncio.sleep(0.01)
    writer.close()
    assert answer.done(), "the server still reads"
    assert open_frontend.backend.invocations == []


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 403), ("HEAD", 403), ("PUT", 403), ("PROPFIND", 403)])
async def test_methods_that_the_api_has_not(listing: Frontend, method: str, status: int) -> None:
    raw = f"{method} /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    answer = await listing.send(raw)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"x-amzn-errortype: AccessDeniedException\r\n" in answer
    assert answer.endswith(b"\r\n\r\n") == (method == "HEAD")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/2015-03-31/functions/", 200),
        (b"/2015-03-31/./functions", 200),
        (b"/2015-03-31//functions", 200),
        (b"/nothing/../2015-03-31/functions", 200),
        (b"http://localhost/2015-03-31/functions", 200),
        (b"/2015-03-31%2Ffunctions", 403),
        (b"/2015-03-31/functions/../../2015-03-31", 403),
        (b"/2015-03-31/functions?MaxItems=%", 400),
        (b"/2015-03-31/functions?MaxItems=1&MaxItems=x", 200),
        (b"/2015-03-31/functions?&&=&MaxItems=2", 200),
        (b"/2015-03-31/functions?Marker=%ff%fe", 200),
        (b"/2015-03-31/functions?Marker=%00", 400),
        (b"/2015-03-31/functions?" + b"a=b&" * 1_500, 200),
        (b"/%", 403),
        (b"/\x7f", 400),
    ],
)
async def test_targets_are_read_the_same_by_everybody(listing: Frontend, target: bytes, status: int) -> None:
    answer = await listing.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]


async def test_an_invocation_has_one_spelling(listing: Frontend) -> None:
    for path in (b"/2015-03-31//functions/f/invocations", b"/2015-03-31/functions/f/./invocations"):
        raw = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % path
        assert (await listing.send(raw)).startswith(b"HTTP/1.1 403 ")
    assert listing.backend.invocations == []


async def test_a_plus_sign_in_a_query_is_one(listing: Frontend) -> None:
    raw = b"GET /2015-03-31/functions?Marker=a+b%%20c%%2Bd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".replace(
        b"%%", b"%"
    )
    assert b"('Marker', 'a+b c+d')" in await listing.send(raw)


async def test_http_1_0_is_answered_and_the_connection_closed(listing: Frontend) -> None:
    answer = await listing.send(b"GET /2015-03-31/functions HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_lines_may_be_folded_by_nobody(listing: Frontend) -> None:
    """What llhttp makes of an old folded header must not become another header."""
    answer = await listing.send(LIST + b"X-A: a\r\n X-Amz-Invocation-Type: Event\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200"))
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("content_type", [b"text/plain", b"application/x-amz-json-1.0", b"multipart/form-data", b"\xff", b""])
async def test_the_control_plane_reads_json_whatever_it_is_called(listing: Frontend, content_type: bytes) -> None:
    async def create(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"AliasArn": request["Name"]}

    listing.operations["CreateAlias"] = create
    body = b'{"Name": "a", "FunctionVersion": "1"}'
    raw = (
        b"POST /2015-03-31/functions/f/aliases HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (content_type, len(body), body)
    )
    assert (await listing.send(raw)).startswith(b"HTTP/1.1 201")


async def test_a_large_deep_body_does_not_hold_up_the_others(listing: Frontend) -> None:
    listing.operations["CreateFunction"] = listed
    body = b'{"a": ' + b"[" * 20_000_000
    raw = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    deep = asyncio.create_task(listing.send(raw + body, deadline_s=30))
    slowest = 0.0
    while not deep.done():
        began = time.monotonic()
        assert (
            await listing.send(b"GET /_lambdad/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        ).startswith(b"HTTP/1.1 200")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.02)
    assert (await deep).startswith(b"HTTP/1.1 400")
    assert slowest < 2.0


def fetch(
    frontend: Frontend, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", frontend.port, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def presigned(frontend: Frontend, method: str, path: str, expires_in: int = 60) -> str:
    request = {"method": method, "url": frontend.url + path, "headers": {}, "body": b"", "context": {}}
    url: str = frontend.client()._request_signer.generate_presigned_url(request, "GetFunction", expires_in)
    return url


async def test_a_presigned_url_is_worth_its_request(frontend: Frontend) -> None:
    async def get(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"Configuration": {"FunctionName": request["FunctionName"], "Version": request.get("Qualifier")}}

    frontend.operations["GetFunction"] = get
    url = presigned(frontend, "GET", "/2015-03-31/functions/f?Qualifier=7")
    status, body = await asyncio.to_thread(fetch, frontend, "GET", url)
    assert (status, body) == (200, b'{"Configuration":{"FunctionName":"f","Version":"7"}}')
    assert (await asyncio.to_thread(fetch, frontend, "DELETE", url))[0] == 403
    assert (await asyncio.to_thread(fetch, frontend, "GET", url.replace("Qualifier=7", "Qualifier=8")))[0] == 403
    late = presigned(frontend, "GET", "/2015-03-31/functions/f", expires_in=604_801)
    assert b"X-Amz-Expires must be less than a week" in (await asyncio.to_thread(fetch, frontend, "GET", late))[1]


async def test_a_presigned_url_invokes(frontend: Frontend) -> None:
    url = presigned(frontend, "POST", "/2015-03-31/functions/f/invocations")
    status, body = await asyncio.to_thread(fetch, frontend, "POST", url)
    assert (status, body) == (200, b"{}")
    assert (await asyncio.to_thread(fetch, frontend, "POST", url, b'{"another": 1}'))[0] == 403
    assert len(frontend.backend.invocations) == 1


class ChunkedPayload(SigV4Auth):  # type: ignore[misc]
    """Signs the request's head; the body's chunks are signed after it."""

    def payload(self, request: AWSRequest) -> str:
        return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def chunked_invoke(
    frontend: Frontend, parts: list[bytes], path: str = "/2015-03-31/functions/f/invocations"
) -> tuple[int, bytes]:
    """An invoke whose body comes in signed chunks."""
    headers = {
        "X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "X-Amz-Decoded-Content-Length": str(sum(len(part) for part in parts)),
        "Content-Encoding": "aws-chunked",
    }
    request = AWSRequest("POST", frontend.url + path, headers=headers)
    ChunkedPayload(Credentials(KEY, SECRET), "lambda", "us-east-1").add_auth(request)
    at = request.headers["X-Amz-Date"]
    scope = f"{at[:8]}/us-east-1/lambda/aws4_request"
    previous = request.headers["Authorization"].rpartition("Signature=")[2]
    key = f"AWS4{SECRET}".encode()
    for part in (at[:8], "us-east-1", "lambda", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    body = b""
    for data in [*parts, b""]:
        empty, actual = hashlib.sha256(b"").hexdigest(), hashlib.sha256(data).hexdigest()
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{at}\n{scope}\n{previous}\n{empty}\n{actual}"
        previous = hmac.new(key, text.encode(), "sha256").hexdigest()
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(data), previous.encode(), data)
    return fetch(frontend, "POST", frontend.url + path, body, dict(request.headers.items()))


async def test_a_payload_in_signed_chunks_arrives_whole(frontend: Frontend) -> None:
    status, body = await asyncio.to_thread(chunked_invoke, frontend, [b'{"a": ', b'"' + b"x" * 100_000 + b'"', b"}"])
    assert (status, len(body)) == (200, 100_009)
    assert frontend.backend.invocations[0][2].payload == body


async def test_chunks_do_not_lift_the_limit(frontend: Frontend) -> None:
    most = b'"' + b"x" * (SYNC_PAYLOAD_BYTES_MAX - 2) + b'"'
    pieces = [most[at : at + 65_536] for at in range(0, len(most), 65_536)]
    assert (await asyncio.to_thread(chunked_invoke, frontend, pieces))[0] == 200
    status, body = await asyncio.to_thread(chunked_invoke, frontend, [*pieces, b" "])
    assert status == 413
    assert b"Request must be smaller than 6291456 bytes for the InvokeFunction operation" in body
    assert len(frontend.backend.invocations) == 1


async def test_a_control_plane_body_may_come_in_chunks(frontend: Frontend) -> None:
    async def create(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"Name": request["Name"], "FunctionVersion": request["FunctionVersion"]}

    frontend.operations["CreateAlias"] = create
    parts = [b'{"Name": "live", ', b'"FunctionVersion": "1"}']
    status, body = await asyncio.to_thread(chunked_invoke, frontend, parts, "/2015-03-31/functions/f/aliases")
    assert (status, body) == (201, b'{"Name":"live","FunctionVersion":"1"}')
