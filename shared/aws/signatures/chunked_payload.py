"""Bodies in AWS's own chunks (`Content-Encoding: aws-chunked`): each chunk with a signature that continues the request's, or
unsigned with a checksum in a trailer. What is inside is given back as one body, proven as the header promised.

Source: AWS's description of chunked uploads and of trailing checksums.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable

import msgspec

from shared.aws.signatures.arithmetic import EMPTY_SHA256, SigningKey, sha256_hex
from shared.domain.errors import AuthError, InvalidRequestContentException

SIGNED = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
FORMS = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})
CHUNKS_MAX = 16_384
"""Smaller chunks than 8 KiB on average are not worth the work of a 70 MB body."""
TRAILERS_MAX = 16
LINE_BYTES_MAX = 1_024
CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?")
_DECIMAL = re.compile(rb"[0-9]{1,12}")
_CHECKSUMS: dict[bytes, Callable[[bytes], bytes]] = {
    b"x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    b"x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    b"x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}


class Seed(msgspec.Struct, frozen=True):
    """The request's own signature, from which the chunks' go on, and what they are signed with."""

    key: SigningKey
    signature: bytes
    amz_date: bytes
    scope_text: bytes


def wire_bytes_max(limit_bytes: int) -> int:
    """How long a chunked body of at most `limit_bytes` may be on the wire."""
    return limit_bytes + limit_bytes // 64 + 64 * 1024


def decode(form: bytes, body: bytes, headers: dict[bytes, bytes], seed: Seed) -> bytes:
    """The body inside `body`. Raises AuthError (a chunk's signature), InvalidRequestContentException (framing, checksum)."""
    signed = form != UNSIGNED_TRAILER
    previous = seed.signature
    parts: list[bytes] = []
    at = 0
    for _ in range(CHUNKS_MAX):
        line, at = _line(body, at)
        found = CHUNK.fullmatch(line)
        if found is None or (found[2] is not None) != signed:
            raise broken("a chunk does not begin with its size" + (" and signature" if signed else ""))
        size = int(found[1], 16)
        data = body[at : at + size]
        if len(data) != size:
            raise broken("it ends within a chunk")
        if signed:
            previous = prove_chunk(seed, previous, sha256_hex(data), found[2])
        if size == 0:
            break
        parts.append(data)
        at += size
        if body[at : at + 2] != b"\r\n":
            raise broken("a chunk is longer than its size says")
        at += 2
    else:
        raise broken(f"it has more than {CHUNKS_MAX} chunks")
    payload = b"".join(parts)
    _check_length(payload, headers)
    _check_trailers(form, body, at, headers, payload, previous, seed)
    return payload


def _check_length(payload: bytes, headers: dict[bytes, bytes]) -> None:
    declared = headers.get(b"x-amz-decoded-content-length")
    if declared is None or _DECIMAL.fullmatch(declared) is None:
        raise broken("the header x-amz-decoded-content-length is missing or no number")
    if int(declared) != len(payload):
        raise broken("it is not as long as x-amz-decoded-content-length says")


def _check_trailers(
    form: bytes, body: bytes, at: int, headers: dict[bytes, bytes], payload: bytes, previous: bytes, seed: Seed
) -> None:
    trailers, signature = trailers_of(body, at)
    if form == SIGNED and (trailers or signature is not None):
        raise broken("it has a trailer that was not announced")
    announced = [name.strip().lower() for name in headers.get(b"x-amz-trailer", b"").split(b",") if name.strip()]
    if sorted(announced) != sorted(trailers) and form != SIGNED:
        raise broken("its trailers are not those that x-amz-trailer names")
    if form == SIGNED_TRAILER:
        prove_trailers(seed, previous, trailers, signature)
    for name, value in trailers.items():
        compute = _CHECKSUMS.get(name)
        if compute is None:
            raise broken(f"the trailer {name.decode('latin-1')} is not supported: crc32, sha1 and sha256 are")
        if not hmac.compare_digest(base64.b64encode(compute(payload)), value):
            raise broken(f"its checksum is not the one of {name.decode('latin-1')}")


def prove_chunk(seed: Seed, previous: bytes, hashed: bytes, claimed: bytes) -> bytes:
    """The signature of a chunk that follows the one signed `previous`. Raises AuthError."""
    to_sign = b"AWS4-HMAC-SHA256-PAYLOAD\n%b\n%b\n%b\n%b\n%b" % (
        seed.amz_date,
        seed.scope_text,
        previous,
        EMPTY_SHA256,
        hashed,
    )
    return _proven(seed.key, to_sign, claimed)


def prove_trailers(seed: Seed, previous: bytes, trailers: dict[bytes, bytes], claimed: bytes | None) -> None:
    """Raises AuthError."""
    text = b"".join(b"%b:%b\n" % (name, trailers[name]) for name in sorted(trailers))
    to_sign = b"AWS4-HMAC-SHA256-TRAILER\n%b\n%b\n%b\n%b" % (seed.amz_date, seed.scope_text, previous, sha256_hex(text))
    _proven(seed.key, to_sign, claimed or b"")


def trailers_of(body: bytes, at: int) -> tuple[dict[bytes, bytes], bytes | None]:
    """(trailers by lower-case name, their signature). Nothing may follow them but the empty line."""
    trailers: dict[bytes, bytes] = {}
    while at < len(body):
        line, at = _line(body, at)
        if not line:
            continue
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        if not colon or name in trailers or len(trailers) >= TRAILERS_MAX:
            raise broken("a trailer is malformed")
        trailers[name] = value.strip()
    return trailers, trailers.pop(b"x-amz-trailer-signature", None)


def _line(body: bytes, at: int) -> tuple[bytes, int]:
    end = body.find(b"\r\n", at, at + LINE_BYTES_MAX)
    if end < 0:
        raise broken("a line has no end")
    return body[at:end], end + 2


def _proven(key: SigningKey, to_sign: bytes, claimed: bytes) -> bytes:
    actual = key.sign(to_sign)
    if not hmac.compare_digest(actual, claimed):
        raise AuthError(
            "InvalidSignatureException", "The chunk signature we calculated does not match the signature you provided."
        )
    return actual


def broken(what: str) -> InvalidRequestContentException:
    return InvalidRequestContentException(f"The aws-chunked body is malformed: {what}.")
