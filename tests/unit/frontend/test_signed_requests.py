"""One reader for every request: claimed before its body is read, proven before it is believed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.frontend.edge.bodies import BodyReader, Receive
from services.frontend.edge.homes import Homes
from services.frontend.edge.identity import NOBODY, Callers
from services.frontend.edge.signed_requests import Limit, RequestReader
from shared.aws.signatures import session_tokens
from shared.aws.signatures.chunked_payload import UNSIGNED_TRAILER
from shared.domain.arns import Home
from shared.domain.errors import ApiError, AuthError, RequestEntityTooLargeException
from tests.unit.aws.signers import KEY, SECRET, Request, signed, verifier

ACCOUNT, CLUSTER = "000000000000", b"cluster"
HOMES = Homes(Home(ACCOUNT, "us-east-1"), ("eu-west-1",))
TOO_LARGE = Limit(100, lambda size: RequestEntityTooLargeException(f"{size} is too large"))


def find_secret(key: str, token: str | None) -> bytes | None:
    if token is not None:
        return session_tokens.find_secret(CLUSTER, key, token, time.time())
    return SECRET.encode() if key == KEY else None


def reader(*, checks: bool = True) -> RequestReader:
    return RequestReader(verifier(find=find_secret) if checks else None, BodyReader(), Callers(ACCOUNT, CLUSTER), HOMES)


def scope_of(request: Request) -> dict[str, Any]:
    method, path, query, headers, _ = request
    return {"method": method.decode(), "raw_path": path, "query_string": query, "headers": headers}


def arriving(*pieces: bytes) -> Receive:
    async def messages() -> AsyncIterator[dict[str, Any]]:
        for index, piece in enumerate(pieces):
            yield {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
        raise AssertionError("read on after the last piece")

    stream = messages()
    return lambda: anext(stream)


async def test_the_same_request_is_the_same_whether_it_came_whole_or_in_pieces() -> None:
    request = signed(body=b'{"a": 1}')
    whole = reader().whole(scope_of(request), request[4])
    later = await reader().claim(scope_of(request)).read(arriving(b'{"a"', b": 1}"), TOO_LARGE)
    assert whole is not None
    for found in (whole, later):
        assert (found.body, found.raw_path, found.query) == (b'{"a": 1}', request[1], request[2])
        assert found.headers[b"host"] == dict(request[3])[b"host"]
        assert found.caller.arn == f"arn:aws:iam::{ACCOUNT}:root"
        assert found.caller.access_key_id == KEY


async def test_a_stranger_is_refused_before_a_byte_of_the_body_is_read() -> None:
    request = signed(key="AKIASTRANGER")
    with pytest.raises(AuthError, match="security token"):
        reader().claim(scope_of(request))
    with pytest.raises(AuthError, match="security token"):
        reader().whole(scope_of(request), request[4])


async def test_a_body_that_was_changed_on_the_way_is_not_believed() -> None:
    request = signed(body=b"{}")
    with pytest.raises(AuthError, match="does not match"):
        reader().whole(scope_of(request), b"[]")
    with pytest.raises(AuthError, match="does not match"):
        await reader().claim(scope_of(request)).read(arriving(b"[]"), TOO_LARGE)


async def test_a_body_over_the_limit_is_answered_as_its_reader_wants() -> None:
    request = signed(body=b"x" * 101)
    with pytest.raises(ApiError, match="101 is too large"):
        await reader().claim(scope_of(request)).read(arriving(request[4]), TOO_LARGE)


def chunked(data: bytes) -> Request:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    headers = {"x-amz-content-sha256": UNSIGNED_TRAILER.decode(), "x-amz-decoded-content-length": str(len(data))}
    return signed(headers=headers, body=body)


async def test_chunks_are_taken_off_and_what_is_inside_keeps_the_limit() -> None:
    request = chunked(b"within")
    assert reader().whole(scope_of(request), request[4]) is None
    found = await reader().claim(scope_of(request)).read(arriving(request[4]), TOO_LARGE)
    assert found.body == b"within"
    request = chunked(b"y" * 101)
    with pytest.raises(ApiError, match="101 is too large"):
        await reader().claim(scope_of(request)).read(arriving(request[4]), TOO_LARGE)


async def test_temporary_credentials_are_the_role_session_they_were_issued_for() -> None:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/f"
    issued = session_tokens.issue(CLUSTER, arn, int(time.time()) + 60)
    request = signed(key=issued.access_key_id, secret=issued.secret_access_key, token=issued.session_token)
    for _ in range(2):
        found = reader().whole(scope_of(request), request[4])
        assert found is not None
        assert found.caller.arn == arn
        assert found.caller.principal.arns == (arn, f"arn:aws:iam::{ACCOUNT}:role/worker")
        assert found.caller.user_id.endswith(":f")


async def test_without_signatures_whoever_asks_is_the_account_and_an_open_request_is_nobodys() -> None:
    scope = {"method": "POST", "raw_path": b"/", "query_string": b"", "headers": [(b"content-length", b"2")]}
    found = reader(checks=False).whole(scope, b"{}")
    assert found is not None
    assert found.caller.arn == f"arn:aws:iam::{ACCOUNT}:root"
    assert (await reader(checks=False).claim(scope).read(arriving(b"{}"), TOO_LARGE)).caller == found.caller
    assert (await reader().unsigned(scope).read(arriving(b"{}"), TOO_LARGE)).caller is NOBODY


def test_hashes_named_by_the_client_are_compared_with_the_body() -> None:
    request = signed(headers={"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}, body=b"{}")
    with pytest.raises(AuthError, match="x-amz-content-sha256"):
        reader().whole(scope_of(request), b"{}")
