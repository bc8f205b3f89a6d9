"""Presigned requests, made by botocore's presigners."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from botocore.auth import S3SigV4QueryAuth
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.aws.signers import KEY, SECRET, Request, presigned, refused, signed, verifier

WEEK_S = 7 * 24 * 3600


def with_parameter(request: Request, name: str, change: Callable[[str], str | None]) -> Request:
    method, path, query, headers, body = request
    pairs = []
    for key, value in parse_qsl(query.decode(), keep_blank_values=True):
        changed = change(value) if key == name else value
        if changed is not None:
            pairs.append((key, changed))
    return method, path, urlencode(pairs, quote_via=quote, safe="~").encode(), headers, body


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("query", ["", "Qualifier=1", "Marker=a%20b%2Bc&MaxItems=5", "Description=%C3%A9"])
def test_what_botocore_presigns_is_accepted(method: str, query: str) -> None:
    assert verifier().verify(*presigned(method, query=query)) == KEY


def test_a_presigned_request_may_leave_its_payload_open() -> None:
    method, path, query, headers, _ = presigned("POST", "/2015-03-31/functions/hello/invocations", signer=S3SigV4QueryAuth)
    assert verifier().verify(method, path, query, headers, b"any body") == KEY


def test_a_payload_that_was_signed_cannot_be_replaced() -> None:
    method, path, query, headers, _ = presigned("POST", "/2015-03-31/functions/hello/invocations")
    assert verifier().verify(method, path, query, headers, b"") == KEY
    assert refused((method, path, query, headers, b"another")).code == "InvalidSignatureException"


def test_it_lives_as_long_as_its_signer_chose() -> None:
    request = presigned(expires=60)
    assert verifier(now=lambda: time.time() + 58).verify(*request) == KEY
    error = refused(request, verifier(now=lambda: time.time() + 62))
    assert error.code == "InvalidSignatureException"
    assert error.message.startswith("Signature expired: ")
    assert error.message.endswith(" - 1 min.)")
    early = refused(request, verifier(now=lambda: time.time() - 1000))
    assert early.message.startswith("Signature not yet current: ")
    week = presigned(expires=WEEK_S)
    assert verifier(now=lambda: time.time() + WEEK_S - 5).verify(*week) == KEY
    assert refused(week, verifier(now=lambda: time.time() + WEEK_S + 5)).message.startswith("Signature expired: ")


@pytest.mark.parametrize("expires", ["604801", "999999999", "0", "-1", "1e3", "", "sixty", "9" * 400])
def test_it_lives_a_week_at_most_and_the_number_is_one(expires: str) -> None:
    error = refused(with_parameter(presigned(), "X-Amz-Expires", lambda _: expires))
    assert error.code == "IncompleteSignatureException"
    assert "X-Amz-Expires" in error.message


@pytest.mark.parametrize(
    "name", ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"]
)
def test_every_parameter_is_needed_and_once(name: str) -> None:
    missing = refused(with_parameter(presigned(), name, lambda _: None))
    assert missing.code == "IncompleteSignatureException"
    assert missing.message == f"AWS query-string parameters must include '{name}'. Re-examine the query-string parameters."
    method, path, query, headers, body = presigned()
    twice = refused((method, path, query + f"&{name}=x".encode(), headers, body))
    assert twice.message.startswith(f"AWS query-string parameters must include '{name}' only once.")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256", "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'"),
        ("X-Amz-Credential", "AKIDEXAMPLE/20260101", "exactly 5 slash-delimited elements"),
        ("X-Amz-Credential", "AKIDEXAMPLE/20260101/us-east-1/lambda/aws4_request", "Date in Credential scope does not match"),
        ("X-Amz-SignedHeaders", "x-amz-date", "'Host' or ':authority' must be a 'SignedHeader'"),
        ("X-Amz-SignedHeaders", "host;x-other", "The request signature we calculated does not match"),
        ("X-Amz-Date", "yesterday", "Date in Credential scope does not match"),
        ("X-Amz-Signature", "0" * 64, "The request signature we calculated does not match"),
        ("X-Amz-Expires", "3601", "The request signature we calculated does not match"),
    ],
)
def test_a_changed_parameter_is_told(name: str, value: str, text: str) -> None:
    assert text in refused(with_parameter(presigned(), name, lambda _: value)).message


def test_a_session_token_is_part_of_the_query() -> None:
    by = verifier(find=lambda key, token: SECRET.encode() if token == "to/ken+=" else None)
    request = presigned(token="to/ken+=")
    assert by.verify(*request) == KEY
    other = refused(with_parameter(request, "X-Amz-Security-Token", lambda _: "another"), by)
    assert other.code == "UnrecognizedClientException"
    assert refused(presigned(), by).code == "UnrecognizedClientException"


def test_headers_that_were_not_signed_are_refused() -> None:
    method, path, query, headers, body = presigned()
    added = [*headers, (b"x-amz-invocation-type", b"Event")]
    assert "not signed: x-amz-invocation-type" in refused((method, path, query, added, body)).message
    assert verifier().verify(*presigned(headers={"X-Amz-Invocation-Type": "Event"})) == KEY


def test_nothing_of_the_request_may_change() -> None:
    method, path, query, headers, body = presigned(query="Qualifier=1")
    for changed in (
        (b"DELETE", path, query, headers, body),
        (method, path + b"x", query, headers, body),
        (method, path, query.replace(b"Qualifier=1", b"Qualifier=2"), headers, body),
        (method, path, query + b"&MaxItems=1", headers, body),
        (method, path, query, [(b"host", b"elsewhere")], body),
    ):
        assert refused(changed).code == "InvalidSignatureException"


def test_a_presigned_query_beside_an_authorization_header_is_refused() -> None:
    _, _, query, _, _ = presigned()
    method, path, _, headers, body = signed("GET", "/2015-03-31/functions/hello")
    assert refused((method, path, query, headers, body)).message.startswith("Only one auth mechanism allowed; ")


parameters = st.lists(
    st.tuples(
        st.sampled_from(["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"])
        | st.sampled_from(["X-Amz-Signature", "X-Amz-Security-Token", "Qualifier"]),
        st.sampled_from(["AWS4-HMAC-SHA256", f"{KEY}/20260101/us-east-1/lambda/aws4_request", "20260101T000000Z", "60", "host"])
        | st.text(max_size=12),
    ),
    max_size=9,
)


@settings(max_examples=300, deadline=None)
@given(parameters, st.binary(max_size=30))
def test_no_query_makes_anything_but_a_403(pairs: list[tuple[str, str]], garbage: bytes) -> None:
    refused((b"GET", b"/2015-03-31/functions/hello", urlencode(pairs).encode() + b"&" + garbage, [(b"host", b"h")], b""))


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.text("abcXYZ-_.~ é€/+%", min_size=1, max_size=8), st.text(max_size=10).filter(lambda t: t.isprintable()), max_size=4
    ),
    st.lists(st.text("abc é:@$", min_size=1, max_size=8), min_size=1, max_size=4),
)
def test_odd_queries_and_paths_are_accepted(query: dict[str, str], segments: list[str]) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    assert verifier().verify(*presigned("GET", path, urlencode(query, quote_via=quote, safe="~"))) == KEY
