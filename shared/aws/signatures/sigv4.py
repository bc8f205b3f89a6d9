"""Signature Version 4, the server's side: who signed a request, with AWS's own answers when nobody did, or not properly.

Header and presigned forms, plain, unsigned and chunked payloads. All work is on bytes and what repeats between requests is
cached, as this runs before every invoke.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from shared.aws.signatures import chunked_payload
from shared.aws.signatures.arithmetic import EMPTY_SHA256, SigningKey, amz_date, derive_key, parse_amz_date, sha256_hex
from shared.aws.signatures.canonical import canonical_paths, canonical_queries, paths_encoded_once, without_signature
from shared.aws.signatures.claims import (
    MISMATCH,
    Scope,
    bad_date,
    is_presigned,
    parse_authorization,
    parse_presigned,
    signed_twice,
    text_of,
)
from shared.aws.signatures.passing_chunks import PassingChunks
from shared.domain.errors import AuthError
from shared.domain.limits import SIGNATURE_SKEW_S

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""
FindSecret = Callable[[str, str | None], bytes | None]
"""The secret key of (access key id, session token), or None when there is no such pair. May raise AuthError."""

K = TypeVar("K")
V = TypeVar("V")

UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"
CACHE_ENTRIES_MAX = 4_096
CACHED_KEY_BYTES_MAX = 1_024
"""What a stranger can make longer is not remembered: the caches stay small whatever comes in."""

ENCODED_ONCE = frozenset({b"s3", b"s3-object-lambda", b"s3-outposts", b"s3express"})
"""Services whose signatures take the path as it is on the wire."""

_HEX_SHA256 = re.compile(rb"[0-9a-f]{64}")


class Expected(msgspec.Struct, frozen=True):
    """What a signature has to be for. service, regions: None for whatever it says."""

    service: bytes | None
    regions: frozenset[bytes] | None


class Claim(msgspec.Struct, frozen=True):
    """A well-formed, current, but not yet proven signature. payload_hash: None when it is the body's to be computed.

    values: the headers by lower-case name, repeated ones joined. chunked: the body's form, None for a plain body.
    token: the session token that goes with the key.
    """

    scope: Scope
    signature: bytes
    amz_date: bytes
    secret: bytes
    values: dict[bytes, bytes]
    payload_hash: bytes | None
    presigned: bool = False
    chunked: bytes | None = None
    token: str | None = None


class Verifier:
    """`claim` needs no body and refuses strangers before one is read; `prove` checks the rest; `payload` unpacks chunks."""

    def __init__(
        self, *, regions: Iterable[str], service: str, find_secret: FindSecret, now: Callable[[], float] = time.time
    ) -> None:
        self._expected = Expected(service.encode(), frozenset(region.encode() for region in regions))
        self._find_secret = find_secret
        self._now = now
        self._scopes: dict[bytes, Scope] = {}
        self._keys: dict[tuple[bytes, bytes], SigningKey] = {}
        self._paths: dict[bytes, tuple[bytes, ...]] = {}
        self._times: dict[bytes, float] = {}

    def verify(self, method: bytes, raw_path: bytes, query: bytes, headers: Headers, body: bytes) -> str:
        """The access key id that signed the request. Raises AuthError, InvalidRequestContentException."""
        claim = self.claim(headers, query)
        found = self.prove(claim, method, raw_path, query, payload_hash(claim, body))
        self.payload(claim, body)
        return found

    def claim(self, headers: Headers, query: bytes = b"", expected: Expected | None = None) -> Claim:
        """expected: the verifier's own service and regions by default.

        Raises AuthError when the signature is missing, malformed, of an unknown key, out of scope or out of date."""
        expected = expected or self._expected
        values: dict[bytes, bytes] = {}
        amz_headers: list[bytes] = []
        for name, value in headers:
            if name in values:
                if name == b"authorization" or name == b"x-amz-date":
                    raise AuthError("IncompleteSignatureException", f"Request has more than one '{name.decode()}' header.")
                value = values[name] + b"," + value
            elif name.startswith(b"x-amz-"):
                amz_headers.append(name)
            values[name] = value
        authorization = values.get(b"authorization")
        if not authorization:
            return self._presigned(values, amz_headers, query, expected)
        if query and is_presigned(query):
            raise signed_twice()
        signed_at = values.get(b"x-amz-date")
        start, found, signature = authorization.rpartition(b"Signature=")
        scope = self._scopes.get(start) if found else None
        if scope is None or signed_at is None or b"," in signature:
            scope, signature, signed_at = self._parse(authorization, start, values)
        _require_signed(amz_headers, scope)
        given = values.get(b"x-amz-security-token")
        token = None if given is None else text_of(given)
        secret = self._secret(scope, token)
        _check_scope(scope, signed_at, expected)
        self._check_time(signed_at)
        named = values.get(b"x-amz-content-sha256")
        return Claim(scope, signature, signed_at, secret, values, named, False, _chunked(named), token)

    def prove(self, claim: Claim, method: bytes, raw_path: bytes, query: bytes, hashed: bytes) -> str:
        """Check the signature itself; `hashed` is the payload's hash from `payload_hash`. Raises AuthError."""
        scope, values = claim.scope, claim.values
        lines = []
        for name in scope.signed_headers:
            value = values.get(name)
            if value is None:
                raise AuthError("InvalidSignatureException", MISMATCH)
            if b"  " in value or b"\t" in value:
                value = b" ".join(value.split())
            lines.append(b"%b:%b\n" % (name, value.strip()))
        headers = b"%b\n%b" % (b"".join(lines), scope.signed_headers_text)
        key = self._signing_key(claim.secret, scope)
        if claim.presigned:
            query = without_signature(query)
        # A presigned request may name its payload, sign it, or leave it open with a constant: the signer's choice is proven.
        payloads = (hashed,) if claim.payload_hash is not None or not claim.presigned else (hashed, UNSIGNED_PAYLOAD)
        for path in self._canonical_paths(raw_path, once=scope.service in ENCODED_ONCE):
            for canonical in canonical_queries(query):
                for payload in payloads:
                    digest = sha256_hex(b"%b\n%b\n%b\n%b\n%b" % (method, path, canonical, headers, payload))
                    to_sign = b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (claim.amz_date, scope.scope_text, digest)
                    if hmac.compare_digest(key.sign(to_sign), claim.signature):
                        return scope.access_key_id
        raise AuthError("InvalidSignatureException", MISMATCH)

    def payload(self, claim: Claim, body: bytes) -> bytes:
        """The body itself, out of its chunks if it came in such. To be called after `prove`.

        Raises AuthError, InvalidRequestContentException.
        """
        if claim.chunked is None:
            return body
        return chunked_payload.decode(claim.chunked, body, claim.values, self._seed(claim))

    def passing_chunks(self, claim: Claim) -> PassingChunks | None:
        """For a body in signed chunks that is not kept: proves them as they pass. To be called after `prove`."""
        if claim.chunked is None or claim.chunked == chunked_payload.UNSIGNED_TRAILER:
            return None
        return PassingChunks(claim.chunked, self._seed(claim))

    def _seed(self, claim: Claim) -> chunked_payload.Seed:
        key = self._signing_key(claim.secret, claim.scope)
        return chunked_payload.Seed(key, claim.signature, claim.amz_date, claim.scope.scope_text)

    def _presigned(self, values: dict[bytes, bytes], amz_headers: list[bytes], query: bytes, expected: Expected) -> Claim:
        found = parse_presigned(query) if query else None
        if found is None:
            raise AuthError("MissingAuthenticationTokenException", "Missing Authentication Token")
        _require_signed(amz_headers, found.scope)
        given = values.get(b"x-amz-security-token")
        token = found.token if given is None else text_of(given)
        secret = self._secret(found.scope, token)
        _check_scope(found.scope, found.amz_date, expected)
        self._check_time(found.amz_date, found.expires_s)
        named = values.get(b"x-amz-content-sha256", found.payload_hash)
        return Claim(found.scope, found.signature, found.amz_date, secret, values, named, True, _chunked(named), token)

    def _parse(self, authorization: bytes, start: bytes, values: dict[bytes, bytes]) -> tuple[Scope, bytes, bytes]:
        scope, signature, signed_at = parse_authorization(authorization, values)
        # Only the usual spelling, with the signature last and a date header of AWS's own, is worth remembering.
        usual = b"Signature=" not in start and authorization == start + b"Signature=" + signature
        if usual and b"x-amz-date" in values:
            _remember(self._scopes, start, scope, len(start))
        return scope, signature, signed_at

    def _secret(self, scope: Scope, token: str | None) -> bytes:
        secret = self._find_secret(scope.access_key_id, token)
        if secret is None:
            raise AuthError("UnrecognizedClientException", "The security token included in the request is invalid.")
        return secret

    def _check_time(self, text: bytes, lives_s: int = SIGNATURE_SKEW_S) -> None:
        """lives_s: a header's signature lives as long as clocks may differ, a presigned one as long as its signer chose."""
        signed_at = self._times.get(text)
        if signed_at is None:
            signed_at = parse_amz_date(text)
            if signed_at is None:
                raise bad_date(text)
            _remember(self._times, text, signed_at)
        now = self._now()
        if signed_at < now - lives_s:
            lived = f"{lives_s // 60} min." if lives_s % 60 == 0 else f"{lives_s} sec."
            limit = f"{amz_date(now - lives_s)} ({amz_date(now)} - {lived})"
            raise AuthError("InvalidSignatureException", f"Signature expired: {text_of(text)} is now earlier than {limit}")
        if signed_at > now + SIGNATURE_SKEW_S:
            limit = f"{amz_date(now + SIGNATURE_SKEW_S)} ({amz_date(now)} + {SIGNATURE_SKEW_S // 60} min.)"
            raise AuthError(
                "InvalidSignatureException", f"Signature not yet current: {text_of(text)} is still later than {limit}"
            )

    def _signing_key(self, secret: bytes, scope: Scope) -> SigningKey:
        # The secret is part of the key, so that one that was changed is never answered for by its predecessor.
        key = self._keys.get((secret, scope.scope_text))
        if key is None:
            key = derive_key(secret, scope.date, scope.region, scope.service)
            _remember(self._keys, (secret, scope.scope_text), key)
        return key

    def _canonical_paths(self, raw_path: bytes, *, once: bool) -> tuple[bytes, ...]:
        if once:
            return paths_encoded_once(raw_path)
        found = self._paths.get(raw_path)
        if found is None:
            found = canonical_paths(raw_path)
            _remember(self._paths, raw_path, found, len(raw_path))
        return found


def _check_scope(scope: Scope, signed_at: bytes, expected: Expected) -> None:
    wrong = []
    if expected.regions is not None and scope.region not in expected.regions:
        wrong.append(f"Credential should be scoped to a valid region, not '{text_of(scope.region)}'.")
    if expected.service is not None and scope.service != expected.service:
        wrong.append(f"Credential should be scoped to correct service: '{text_of(expected.service)}'.")
    if scope.date != signed_at[:8]:
        wrong.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{text_of(scope.date)}' != '{text_of(signed_at[:8])}', from '{text_of(signed_at)}'."
        )
    if wrong:
        raise AuthError("InvalidSignatureException", " ".join(wrong))


def payload_hash(claim: Claim, body: bytes) -> bytes:
    """The hash that the canonical request ends with. Raises AuthError when the client named another than the body's."""
    named = claim.payload_hash
    if named == UNSIGNED_PAYLOAD or (named is not None and claim.chunked is not None):
        return named
    if named is not None and not is_sha256(named):
        raise AuthError("InvalidSignatureException", "The value of 'x-amz-content-sha256' header is invalid.")
    actual = sha256_hex(body) if body else EMPTY_SHA256
    if named is not None and not hmac.compare_digest(named, actual):
        raise AuthError(
            "InvalidSignatureException", "The provided 'x-amz-content-sha256' header does not match what was computed."
        )
    return actual


def is_sha256(named: bytes) -> bool:
    """Whether it is a hash rather than one of the constants that stand for none, or for chunks."""
    return _HEX_SHA256.fullmatch(named) is not None


def _chunked(named: bytes | None) -> bytes | None:
    return named if named in chunked_payload.FORMS else None


def _require_signed(amz_headers: list[bytes], scope: Scope) -> None:
    for name in amz_headers:
        if name not in scope.signed_headers:
            raise AuthError(
                "InvalidSignatureException", f"There were headers present in the request which were not signed: {text_of(name)}"
            )


def _remember(cache: dict[K, V], key: K, value: V, key_bytes: int = 0) -> None:
    if key_bytes > CACHED_KEY_BYTES_MAX:
        return
    if len(cache) >= CACHE_ENTRIES_MAX:
        cache.clear()
    cache[key] = value
