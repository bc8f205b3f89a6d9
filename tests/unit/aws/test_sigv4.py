"""Against botocore's own signer: whatever it signs is accepted, whatever is changed afterwards is not."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import time
from unittest import mock
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aws.signatures.arithmetic import SigningKey
from shared.aws.signatures.canonical import canonical_paths
from shared.aws.signatures.sigv4 import CACHE_ENTRIES_MAX, CACHED_KEY_BYTES_MAX
from shared.domain.errors import AuthError
from tests.unit.aws.signers import HOST, KEY, SECRET, Request, refused, signed, verifier, with_header

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
tokens = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda text: f"x-amz-{text}z")
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@st.composite
def odd_requests(draw: st.DrawFn) -> Request:
    segments = draw(st.lists(words, min_size=1, max_size=5))
    safe = draw(st.sampled_from(["", ":", ":@!$&'()*+,;="]))
    path = "/" + "/".join(quote(segment, safe=safe) for segment in segments) + draw(st.sampled_from(["", "/"]))
    pairs = draw(st.lists(st.tuples(words, words | st.just("")), max_size=4))
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    headers = dict(draw(st.lists(st.tuples(tokens, values), max_size=4)))
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
    return signed(method, path, query, headers, draw(st.binary(max_size=200)))


@settings(max_examples=300, deadline=None)
@given(odd_requests())
def test_whatever_botocore_signs_is_accepted(request: Request) -> None:
    assert verifier().verify(*request) == KEY


@settings(max_examples=200, deadline=None)
@given(odd_requests(), st.data())
def test_whatever_is_changed_after_signing_is_refused(request: Request, data: st.DataObject) -> None:
    method, path, query, headers, body = request
    what = data.draw(st.sampled_from(["method", "path", "query", "body", "header", "signature", "date"]))
    if what == "method":
        request = (b"PATCH", path, query, headers, body)
    elif what == "path":
        request = (method, path + b"x", query, headers, body)
    elif what == "query":
        request = (method, path, query + b"&Qualifier=1", headers, body)
    elif what == "body":
        request = (method, path, query, headers, body + b" ")
    elif what == "signature":
        request = with_header(request, b"authorization", lambda value: value[:-1] + (b"0" if value[-1:] != b"0" else b"1"))
    elif what == "date":
        request = with_header(request, b"x-amz-date", lambda value: value[:-2] + (b"0Z" if value[-2:] != b"0Z" else b"1Z"))
    else:
        names = [name for name, _ in headers if name not in (b"authorization", b"x-amz-date")]
        name = data.draw(st.sampled_from(names))
        request = with_header(request, name, lambda value: value + b"x")
        if name in (b"content-length", b"content-type", b"user-agent"):
            return
    assert refused(request).code == "InvalidSignatureException"


def test_the_same_verifier_answers_right_again_and_again() -> None:
    same = verifier()
    for _ in range(3):
        assert same.verify(*signed(query="Qualifier=1")) == KEY
        assert refused(signed(secret="wrong"), same).code == "InvalidSignatureException"
        assert refused(signed(key="AKIDOTHER"), same).code == "UnrecognizedClientException"


def test_a_request_without_a_signature_is_told_so() -> None:
    method, path, query, _, body = signed()
    error = refused((method, path, query, [(b"host", HOST.encode())], body))
    assert (error.code, error.message) == ("MissingAuthenticationTokenException", "Missing Authentication Token")


def test_a_wrong_secret_gets_awss_text() -> None:
    assert refused(signed(secret="wrong")).message == (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
        "signing method. Consult the service documentation for details."
    )


@pytest.mark.parametrize("changes", [{"key": "AKIDOTHER"}, {"token": "some-token"}])
def test_unknown_keys_and_tokens_are_invalid(changes: dict[str, str]) -> None:
    error = refused(signed(**changes))  # type: ignore[arg-type]
    assert (error.code, error.message) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def test_a_session_token_goes_to_the_lookup_and_is_part_of_the_signature() -> None:
    by = verifier(find=lambda key, token: SECRET.encode() if token == "the-token" else None)
    assert by.verify(*signed(token="the-token")) == KEY
    assert refused(signed(token="another"), by).code == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(15.1, "Signature expired: {at} is now earlier than "), (-15.1, "Signature not yet current: {at} is still later than ")],
)
def test_a_signature_lives_fifteen_minutes(minutes: float, text: str) -> None:
    request = signed()
    at = dict(request[3])[b"x-amz-date"].decode()
    error = refused(request, verifier(now=lambda: time.time() + minutes * 60))
    assert error.code == "InvalidSignatureException"
    assert error.message.startswith(text.format(at=at))
    assert error.message.endswith(" 15 min.)")
    assert verifier(now=lambda: time.time() + minutes * 57).verify(*request) == KEY


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"region": "us-west-2"}, "Credential should be scoped to a valid region, not 'us-west-2'."),
        ({"service": "s3"}, "Credential should be scoped to correct service: 'lambda'."),
    ],
)
def test_the_scope_must_be_this_service_in_this_region(changes: dict[str, str], text: str) -> None:
    assert refused(signed(**changes)).message == text  # type: ignore[arg-type]


def test_the_scopes_date_must_be_the_requests() -> None:
    request = with_header(signed(), b"authorization", lambda value: value.replace(b"/20", b"/19", 1))
    assert "Date in Credential scope does not match YYYYMMDD" in refused(request).message


AUTHORIZATION = (
    b"AWS4-HMAC-SHA256 Credential=" + KEY.encode() + b"/20260101/us-east-1/lambda/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64
)


@pytest.mark.parametrize(
    ("header", "code", "text"),
    [
        (b"Basic dXNlcjpwYXNz", "IncompleteSignatureException", "Authorization header is not AWS4-HMAC-SHA256."),
        (b"AWS4-HMAC-SHA512 x=y", "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512'"),
        (b"AWS4-HMAC-SHA256", "IncompleteSignatureException", "Authorization header requires 'Credential' parameter."),
        (AUTHORIZATION.replace(b"Signature=", b"Nothing="), "IncompleteSignatureException", "requires 'Signature' parameter."),
        (AUTHORIZATION.replace(b"/us-east-1", b""), "IncompleteSignatureException", "exactly 5 slash-delimited elements"),
        (AUTHORIZATION.replace(b"host;", b""), "InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader'"),
        (AUTHORIZATION.replace(b";x-amz-date", b""), "InvalidSignatureException", "'X-Amz-Date' must be a 'SignedHeader'"),
        (AUTHORIZATION.replace(b"aws4_request", b"aws4"), "InvalidSignatureException", "valid terminator: 'aws4_request'"),
        (AUTHORIZATION + b", Signature=" + b"1" * 64, "IncompleteSignatureException", "more than one 'Signature' parameter"),
        (AUTHORIZATION + b" garbage", "IncompleteSignatureException", "not a valid key=value pair"),
        (b"AWS4-HMAC-SHA256 \xff\xfe=,,;=", "IncompleteSignatureException", "requires 'Credential' parameter."),
    ],
)
def test_malformed_headers_are_named(header: bytes, code: str, text: str) -> None:
    error = refused(with_header(signed(), b"authorization", lambda _: header))
    assert error.code == code
    assert text in error.message
    assert "dXNlcjpwYXNz" not in error.message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_authorization_header_makes_anything_but_a_403(header: bytes) -> None:
    refused(with_header(signed(), b"authorization", lambda _: header))
    refused(with_header(signed(), b"authorization", lambda _: b"AWS4-HMAC-SHA256 " + header))


@pytest.mark.parametrize("date", [b"", b"yesterday", b"20261399T999999Z", b"2026-01-01T00:00:00Z"])
def test_a_date_that_is_none_is_refused(date: bytes) -> None:
    refused(with_header(signed(), b"x-amz-date", lambda _: date))


def test_a_header_and_a_query_cannot_both_sign() -> None:
    method, path, _, headers, body = signed(query="X-Amz-Signature=0")
    error = refused((method, path, b"X-Amz-Signature=0", headers, body))
    assert error.message.startswith("Only one auth mechanism allowed; ")


def test_two_authorization_headers_are_refused() -> None:
    method, path, query, headers, body = signed()
    extra = next(pair for pair in headers if pair[0] == b"authorization")
    assert refused((method, path, query, [*headers, extra], body)).code == "IncompleteSignatureException"


def test_an_amazon_header_that_was_added_later_is_refused() -> None:
    method, path, query, headers, body = signed()
    request = (method, path, query, [*headers, (b"x-amz-invocation-type", b"Event")], body)
    assert "not signed: x-amz-invocation-type" in refused(request).message


def test_a_payload_hash_header_is_compared_with_the_body() -> None:
    right = hashlib.sha256(b"{}").hexdigest()
    assert verifier().verify(*signed(headers={"X-Amz-Content-SHA256": right})) == KEY
    wrong = hashlib.sha256(b"other").hexdigest()
    assert refused(signed(headers={"X-Amz-Content-SHA256": wrong})).code == "InvalidSignatureException"
    assert refused(signed(headers={"X-Amz-Content-SHA256": "nonsense"})).code == "InvalidSignatureException"


def test_an_unsigned_payload_is_accepted_only_where_the_signature_says_so() -> None:
    with mock.patch.object(SigV4Auth, "payload", return_value="UNSIGNED-PAYLOAD"):
        request = signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert verifier().verify(*request[:4], b"any body") == KEY
    method, path, query, headers, body = signed()
    assert refused((method, path, query, [*headers, (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")], body))


def test_arns_in_paths_are_accepted_in_every_way_that_clients_encode_them() -> None:
    for path in (
        "/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:f/invocations",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations",
    ):
        assert verifier().verify(*signed(path=path)) == KEY
    assert canonical_paths(b"/a:b") == (b"/a%3Ab", b"/a%253Ab")
    assert canonical_paths(b"/a%3Ab") == (b"/a%253Ab",)


def test_repeated_and_spaced_header_values_are_folded_as_botocore_folds_them() -> None:
    assert verifier().verify(*signed(headers={"X-Amz-Meta": "a   b \t c"})) == KEY


class DateAuth(SigV4Auth):  # type: ignore[misc]
    """With a Date header in place of X-Amz-Date, as some older clients sign."""

    def _modify_request_before_signing(self, request: object) -> None:
        request.headers["Date"] = "to be set"  # type: ignore[attr-defined]
        super()._modify_request_before_signing(request)


def test_a_date_header_in_http_form_is_as_good() -> None:
    request = signed(signer=DateAuth)
    assert b"x-amz-date" not in dict(request[3])
    assert verifier().verify(*request) == KEY
    assert refused(request, verifier(now=lambda: time.time() + 1000)).message.startswith("Signature expired: ")
    assert refused(with_header(request, b"date", lambda _: b"yesterday")).message.startswith("Date must be in ISO-8601")
    assert refused(with_header(request, b"date", lambda _: b"")).code == "IncompleteSignatureException"
    unsigned = with_header(request, b"authorization", lambda value: value.replace(b"SignedHeaders=date;", b"SignedHeaders="))
    assert refused(unsigned).message == "'Date' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize("algorithm", [b"AWS4-ECDSA-P256-SHA256", b"AWS4-HMAC-SHA1"])
def test_another_algorithm_is_refused_by_name(algorithm: bytes) -> None:
    request = with_header(signed(), b"authorization", lambda value: value.replace(b"AWS4-HMAC-SHA256", algorithm, 1))
    assert refused(request).message == f"Unsupported AWS 'algorithm': '{algorithm.decode()}' (only AWS4-HMAC-SHA256 for now)."


@pytest.mark.parametrize(
    "query",
    ["b=2&a=1", "a=2&a=1", "a=", "a", "a=b+c", "a=b%20c", "a=b%2Bc", "%C3%A9=%E2%82%AC", "a=%7e", "a=1&&b=2", "=1", "a=b=c"],
)
def test_queries_are_signed_in_canonical_order_and_spelling(query: str) -> None:
    assert verifier().verify(*signed(query=query)) == KEY


def test_a_space_and_a_plus_sign_are_not_the_same() -> None:
    method, path, _, headers, body = signed(query="Marker=a%20b")
    for other in (b"Marker=a+b", b"Marker=a%2Bb", b"Marker=a%2520b"):
        assert refused((method, path, other, headers, body)).code == "InvalidSignatureException"
    assert verifier().verify(method, path, b"Marker=a%20b", headers, body) == KEY


@pytest.mark.parametrize(
    "path", ["/a/./b", "/a//b", "/a/../b/", "/", "//", "/%C3%A9/%E2%82%AC", "/a%2Fb", "/a%20b", "/a+b", "/..", "/~x"]
)
def test_paths_are_accepted_as_botocore_normalises_them(path: str) -> None:
    assert verifier().verify(*signed(path=path)) == KEY


def test_an_encoded_slash_is_not_a_slash() -> None:
    method, _, query, headers, body = signed(path="/a%2Fb")
    assert refused((method, b"/a/b", query, headers, body)).code == "InvalidSignatureException"
    assert refused((method, b"/a%252Fb", query, headers, body)).code == "InvalidSignatureException"


def test_repeated_headers_are_joined_in_their_order() -> None:
    method, path, query, headers, body = signed(headers={"X-Amz-Meta": "a,b"})
    rest = [pair for pair in headers if pair[0] != b"x-amz-meta"]
    joined = [*rest, (b"x-amz-meta", b"a"), (b"x-amz-meta", b"b")]
    assert verifier().verify(method, path, query, joined, body) == KEY
    swapped = [*rest, (b"x-amz-meta", b"b"), (b"x-amz-meta", b"a")]
    assert refused((method, path, query, swapped, body)).code == "InvalidSignatureException"


@pytest.mark.parametrize("name", [b"host", b"x-amz-security-token", b"x-amz-content-sha256"])
def test_a_second_header_that_the_signature_rests_on_is_refused(name: bytes) -> None:
    method, path, query, headers, body = signed(headers={"X-Amz-Content-SHA256": hashlib.sha256(b"{}").hexdigest()})
    value = dict(headers).get(name, b"token")
    extra = [(name, value)] if name in dict(headers) else [(name, value)] * 2
    refused((method, path, query, [*headers, *extra], body))


def test_a_signature_is_worth_nothing_for_another_request_and_may_be_sent_again_only_in_its_window() -> None:
    at = time.time()
    request = signed()
    by = verifier(now=lambda: at)
    assert by.verify(*request) == by.verify(*request) == KEY
    later = verifier(now=lambda: at + 15 * 60 + 2)
    assert refused(request, later).message.startswith("Signature expired: ")


def test_signatures_are_compared_in_constant_time() -> None:
    with mock.patch("shared.aws.signatures.sigv4.hmac.compare_digest", side_effect=hmac.compare_digest) as compared:
        refused(with_header(signed(), b"authorization", lambda value: value[:-1]))
    assert compared.called


def test_the_caches_of_a_verifier_stay_bounded() -> None:
    by = verifier()
    for number in range(CACHE_ENTRIES_MAX + 10):
        with pytest.raises(AuthError):
            by.verify(b"GET", b"/%%%d" % number, b"", signed_headers(number), b"")
    assert len(by._scopes) <= CACHE_ENTRIES_MAX
    assert len(by._times) <= CACHE_ENTRIES_MAX
    assert len(by._paths) <= CACHE_ENTRIES_MAX


def test_what_strangers_can_make_long_is_not_remembered() -> None:
    by = verifier()
    long = b"x" * CACHED_KEY_BYTES_MAX
    header = AUTHORIZATION.replace(KEY.encode(), KEY.encode() + long)
    for _ in range(2):
        with pytest.raises(AuthError):
            by.verify(
                b"GET",
                b"/" + long,
                b"",
                [(b"host", b"h"), (b"x-amz-date", b"20260101T000000Z"), (b"authorization", header)],
                b"",
            )
        by.verify(*signed(path="/a:b/" + "y" * CACHED_KEY_BYTES_MAX))
    assert by._scopes.keys().isdisjoint({header.rpartition(b"Signature=")[0] + b"Signature="})
    assert by._paths == {}


def signed_headers(number: int) -> list[tuple[bytes, bytes]]:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ").encode()
    header = AUTHORIZATION.replace(b"host;", b"host;x-%08d;" % number).replace(b"20260101", now[:8])
    names = sorted([b"host", b"x-%08d" % number, b"x-amz-date"])
    header = header.replace(b";".join([b"host", b"x-%08d" % number, b"x-amz-date"]), b";".join(names))
    return [(b"host", b"h"), (b"x-amz-date", now), (b"authorization", header), (b"x-%08d" % number, b"1")]


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=300))
def test_a_signing_key_computes_hmac_sha256(key: bytes, message: bytes) -> None:
    assert SigningKey(key).sign(message) == hmac.new(key, message, "sha256").hexdigest().encode()
