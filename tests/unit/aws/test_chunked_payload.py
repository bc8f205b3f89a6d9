"""aws-chunked bodies: the signer here is written from AWS's description, its first signature is botocore's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aws.signatures import chunked_payload
from shared.aws.signatures.sigv4 import payload_hash
from shared.domain.errors import AuthError, InvalidRequestContentException
from tests.unit.aws.signers import KEY, SECRET, Request, broken, signed, verifier

EMPTY = hashlib.sha256(b"").hexdigest()


def _named_payload(form: str) -> type[SigV4Auth]:
    class Auth(SigV4Auth):  # type: ignore[misc]
        def payload(self, request: Any) -> str:
            return form

    return Auth


def chunked(form: str, data: bytes, **headers: str) -> Request:
    """A request whose headers are signed, without its body."""
    more = {
        "X-Amz-Content-SHA256": form,
        "X-Amz-Decoded-Content-Length": str(len(data)),
        "Content-Encoding": "aws-chunked",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return signed(headers=more, body=b"", signer=_named_payload(form))


def key_of(date: str) -> bytes:
    found = b"AWS4" + SECRET.encode()
    for part in (date, "us-east-1", "lambda", "aws4_request"):
        found = hmac.digest(found, part.encode(), "sha256")
    return found


class Chunks:
    """Signs chunk after chunk, each with its forerunner's signature in it."""

    def __init__(self, request: Request) -> None:
        headers = dict(request[3])
        self.at = headers[b"x-amz-date"].decode()
        self.scope = f"{self.at[:8]}/us-east-1/lambda/aws4_request"
        self.previous = headers[b"authorization"].rpartition(b"Signature=")[2].decode()
        self.key = key_of(self.at[:8])

    def chunk(self, data: bytes) -> bytes:
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{self.at}\n{self.scope}\n{self.previous}\n{EMPTY}\n{hashlib.sha256(data).hexdigest()}"
        )
        self.previous = hmac.new(self.key, text.encode(), "sha256").hexdigest()
        return b"%x;chunk-signature=%b\r\n%b" % (len(data), self.previous.encode(), data + b"\r\n" if data else b"")

    def trailer(self, lines: bytes) -> bytes:
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self.at}\n{self.scope}\n{self.previous}\n{hashlib.sha256(lines).hexdigest()}"
        return hmac.new(self.key, text.encode(), "sha256").hexdigest().encode()


def signed_body(request: Request, parts: list[bytes]) -> bytes:
    chunks = Chunks(request)
    return b"".join(chunks.chunk(part) for part in [*parts, b""]) + b"\r\n"


def opened(request: Request, body: bytes) -> bytes:
    method, path, query, headers, _ = request
    by = verifier()
    claim = by.claim(headers, query)
    assert by.prove(claim, method, path, query, payload_hash(claim, body)) == KEY
    return by.payload(claim, body)


def with_body(request: Request, body: bytes) -> Request:
    return (*request[:4], body)


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_signed_chunks_are_unpacked(parts: list[bytes]) -> None:
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"".join(parts))
    assert opened(request, signed_body(request, parts)) == b"".join(parts)


def test_signed_chunks_with_a_signed_trailer_are_unpacked() -> None:
    data = b'{"a": 1}' * 1000
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", data, X_Amz_Trailer="x-amz-checksum-crc32")
    chunks = Chunks(request)
    line = f"x-amz-checksum-crc32:{crc32(data)}\n".encode()
    body = chunks.chunk(data[:5000]) + chunks.chunk(data[5000:]) + chunks.chunk(b"") + line.strip() + b"\r\n"
    whole = body + b"x-amz-trailer-signature:" + chunks.trailer(line) + b"\r\n\r\n"
    assert opened(request, whole) == data
    for bad in (body + b"\r\n", body + b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n\r\n"):
        assert broken(with_body(request, bad)).code == "InvalidSignatureException"


@pytest.mark.parametrize("size", [0, 1, 1_000, 3_000_000])
def test_botocores_unsigned_chunks_with_a_checksum_are_unpacked(size: int) -> None:
    data = b"x" * size
    request = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", data, X_Amz_Trailer="x-amz-checksum-crc32")
    body = AwsChunkedWrapper(io.BytesIO(data), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32").read()
    assert opened(request, body) == data


@pytest.mark.parametrize(
    ("name", "digest"),
    [("sha1", lambda data: hashlib.sha1(data).digest()), ("sha256", lambda data: hashlib.sha256(data).digest())],
)
def test_a_checksum_is_computed(name: str, digest: Callable[[bytes], bytes]) -> None:
    data = b"some data"
    request = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", data, X_Amz_Trailer=f"x-amz-checksum-{name}")
    right = base64.b64encode(digest(data))
    frame = b"9\r\nsome data\r\n0\r\nx-amz-checksum-%b:%b\r\n\r\n"
    assert opened(request, frame % (name.encode(), right)) == data
    assert "checksum" in broken(with_body(request, frame % (name.encode(), base64.b64encode(b"wrong")))).message


def signed_example() -> tuple[Request, bytes]:
    data = b"0123456789" * 10
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", data)
    return request, signed_body(request, [data[:50], data[50:]])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: body.replace(b"0123456789", b"9876543210", 1), "InvalidSignatureException"),
        (lambda body: body.replace(b"chunk-signature=", b"chunk-signature=0", 1), "InvalidRequestContentException"),
        (lambda body: body.replace(b";chunk-signature=", b";x=", 1), "InvalidRequestContentException"),
        (lambda body: body[:-10], "InvalidRequestContentException"),
        (lambda body: body[: body.index(b"\r\n32;") + 2], "InvalidRequestContentException"),
        (lambda body: body[body.index(b"\r\n32;") + 2 :], "InvalidSignatureException"),
        (lambda body: b"ffffffff" + body[2:], "InvalidRequestContentException"),
        (lambda body: b"33" + body[2:], "InvalidSignatureException"),
        (lambda body: b"31" + body[2:], "InvalidSignatureException"),
        (lambda body: b"-1" + body[2:], "InvalidRequestContentException"),
        (lambda body: b"", "InvalidRequestContentException"),
        (lambda body: b"\r\n" * 100, "InvalidRequestContentException"),
        (lambda body: body + b"x-amz-meta:1\r\n\r\n", "InvalidRequestContentException"),
        (lambda body: body + b"garbage", "InvalidRequestContentException"),
    ],
)
def test_a_changed_chunk_is_refused(change: Callable[[bytes], bytes], code: str) -> None:
    request, body = signed_example()
    assert opened(request, body) == b"0123456789" * 10
    assert broken(with_body(request, change(body))).code == code


def test_chunks_cannot_change_places() -> None:
    data = b"a" * 50 + b"b" * 50
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", data)
    body = signed_body(request, [data[:50], data[50:]])
    size = len(body[: body.index(b"\r\n32;")]) + 2
    swapped = body[size : 2 * size] + body[:size] + body[2 * size :]
    assert broken(with_body(request, swapped)).code == "InvalidSignatureException"


def test_chunks_of_one_request_are_worth_nothing_in_another() -> None:
    _, body = signed_example()
    other = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"0" * 100, X_Amz_Meta="other")
    assert broken(with_body(other, body)).code == "InvalidSignatureException"


@pytest.mark.parametrize("length", ["99", "101", "-1", "x", ""])
def test_the_decoded_length_must_be_right(length: str) -> None:
    data = b"0" * 100
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", data, X_Amz_Decoded_Content_Length=length)
    assert "x-amz-decoded-content-length" in broken(with_body(request, signed_body(request, [data]))).message


@pytest.mark.parametrize("trailer", [b"", b"x-amz-other:1\r\n", b"x-amz-checksum-crc64nvme:AAAA\r\n", b"no colon\r\n"])
def test_trailers_must_be_the_announced_ones_and_known(trailer: bytes) -> None:
    request = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"1", X_Amz_Trailer="x-amz-checksum-crc64nvme")
    assert broken(with_body(request, b"1\r\n1\r\n0\r\n" + trailer + b"\r\n")).code == "InvalidRequestContentException"


def test_many_small_chunks_are_cut_off() -> None:
    count = chunked_payload.CHUNKS_MAX + 1
    request = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"1" * count)
    assert "more than" in broken(with_body(request, b"1\r\n1\r\n" * count + b"0\r\n\r\n")).message


def test_an_elliptic_curve_stream_is_refused() -> None:
    request = chunked("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", b"")
    assert broken(with_body(request, b"0\r\n\r\n")).message == "The value of 'x-amz-content-sha256' header is invalid."


def test_a_body_that_calls_itself_chunked_only_in_a_header_nobody_signed_is_refused() -> None:
    method, path, query, headers, _ = signed()
    forged = [*headers, (b"x-amz-content-sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")]
    assert broken((method, path, query, forged, b"1\r\n1\r\n0\r\n\r\n")).code == "InvalidSignatureException"


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"0\r\n", b"1\r\nx\r\n", b"\r\n", b"a:b\r\n", b"5", b";chunk-signature="]), max_size=8).map(
        b"".join
    )
)
def test_no_body_makes_anything_but_an_api_error(body: bytes) -> None:
    for form in sorted(chunked_payload.FORMS):
        seed = chunked_payload.Seed(verifier()._signing_key(b"s", _SCOPE), b"0" * 64, b"20260101T000000Z", b"x")
        try:
            chunked_payload.decode(form, body, {b"x-amz-decoded-content-length": b"1"}, seed)
        except (AuthError, InvalidRequestContentException):
            continue
        assert form == chunked_payload.UNSIGNED_TRAILER
        assert body.startswith(b"1\r\n")


_SCOPE = verifier().claim(signed()[3]).scope


def passed(request: Request, body: bytes, sizes: list[int]) -> None:
    """As a body passes that nobody keeps, in pieces of these sizes, over and over."""
    method, path, query, headers, _ = request
    by = verifier()
    claim = by.claim(headers, query)
    by.prove(claim, method, path, query, payload_hash(claim, b""))
    chunks = by.passing_chunks(claim)
    assert chunks is not None
    at, turn = 0, 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        chunks.feed(body[at : at + size])
        at, turn = at + size, turn + 1
    chunks.finish()


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=6), st.lists(st.integers(0, 300), max_size=5))
def test_chunks_are_proven_as_they_pass_however_they_are_cut(sizes: list[int], lengths: list[int]) -> None:
    parts = [bytes([number]) * length for number, length in enumerate(lengths) if length]
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"".join(parts))
    passed(request, signed_body(request, parts), sizes)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 500))
def test_no_byte_of_a_passing_chunk_can_be_changed(where: int, size: int) -> None:
    parts = [b"first" * 20, b"second" * 30]
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"".join(parts))
    body = bytearray(signed_body(request, parts))
    at = where % (len(body) - 4)
    body[at] ^= 1
    with pytest.raises((AuthError, InvalidRequestContentException)):
        passed(request, bytes(body), [size])


def test_a_passing_body_that_ends_early_or_brings_more_is_refused() -> None:
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"data")
    body = signed_body(request, [b"data"])
    for wrong in (body[:10], body[: body.rindex(b"0;")], body + b"x-trailer:1\r\n", b"", body + b"y" * 20_000):
        with pytest.raises((AuthError, InvalidRequestContentException)):
            passed(request, wrong, [7])


def test_a_signed_trailer_is_proven_as_it_passes() -> None:
    request = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", b"data", x_amz_trailer="x-amz-checksum-crc32")
    lines = b"x-amz-checksum-crc32:" + crc32(b"data").encode() + b"\n"
    chunks = Chunks(request)
    body = chunks.chunk(b"data") + chunks.chunk(b"")
    trailer = lines.replace(b"\n", b"\r\n")
    good = body + trailer + b"x-amz-trailer-signature:" + chunks.trailer(lines) + b"\r\n\r\n"
    passed(request, good, [11])
    with pytest.raises(AuthError):
        passed(request, good.replace(b"crc32:", b"crc32:A"), [11])
