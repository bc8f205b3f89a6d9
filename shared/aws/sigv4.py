"""Signature Version 4, the server's side: who signed a request, with AWS's own answers when nobody did, or not properly.

Source: AWS's description of the signing process for API requests. Lambda's canonical path is encoded twice: the path on the
wire is encoded once more. All work is on bytes and what repeats between requests is cached, as this runs before every invoke.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec

from shared.domain.errors import AuthError
from shared.domain.limits import SIGNATURE_SKEW_S

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""
FindSecret = Callable[[str, str | None], bytes | None]
"""The secret key of (access key id, session token), or None when there is no such pair."""

K = TypeVar("K")
V = TypeVar("V")

ALGORITHM = b"AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = b"UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest().encode()
SIGNED_HEADERS_MAX = 64
CACHE_ENTRIES_MAX = 4_096

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)
_AMZ_DATE = re.compile(rb"\d{8}T\d{6}Z")
_HEX_SHA256 = re.compile(rb"[0-9a-f]{64}")
_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_.~-]+)+")
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9_.~-]+=[A-Za-z0-9_.~-]*")


class Scope(msgspec.Struct, frozen=True):
    """What an Authorization header says besides the signature itself."""

    access_key_id: str
    date: bytes
    region: bytes
    service: bytes
    signed_headers: tuple[bytes, ...]
    signed_headers_text: bytes
    scope_text: bytes


class Claim(msgspec.Struct, frozen=True):
    """A well-formed, current, but not yet proven signature. payload_hash: None when it is the body's to be computed."""

    scope: Scope
    signature: bytes
    amz_date: bytes
    secret: bytes
    values: dict[bytes, bytes]
    payload_hash: bytes | None


_NEW_SHA256 = hashlib.sha256()


def _sha256_hex(data: bytes) -> bytes:
    """Copying an empty hash costs half of looking the algorithm up again."""
    found = _NEW_SHA256.copy()
    found.update(data)
    return found.hexdigest().encode()


class SigningKey:
    """HMAC-SHA256 with a key that is used over and over: both of its halves start from a hash that has taken the key in."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, message: bytes) -> bytes:
        """The signature as hexadecimal text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest().encode()


class Verifier:
    """Verifies the header form. `claim` needs no body and refuses strangers before one is read; `prove` checks the rest."""

    def __init__(self, *, region: str, service: str, find_secret: FindSecret, now: Callable[[], float] = time.time) -> None:
        self._region = region.encode()
        self._service = service.encode()
        self._find_secret = find_secret
        self._now = now
        self._scopes: dict[bytes, Scope] = {}
        self._keys: dict[tuple[bytes, bytes], SigningKey] = {}
        self._paths: dict[bytes, tuple[bytes, ...]] = {}
        self._times: dict[bytes, float] = {}

    def verify(self, method: bytes, raw_path: bytes, query: bytes, headers: Headers, body: bytes) -> str:
        """The access key id that signed the request. Raises AuthError."""
        claim = self.claim(headers)
        return self.prove(claim, method, raw_path, query, payload_hash(claim, body))

    def claim(self, headers: Headers) -> Claim:
        """Raises AuthError when the signature is missing, malformed, of an unknown key, out of scope or out of date."""
        values: dict[bytes, bytes] = {}
        unsigned_amz: list[bytes] = []
        for name, value in headers:
            if name in values:
                if name == b"authorization" or name == b"x-amz-date":
                    raise AuthError("IncompleteSignatureException", f"Request has more than one '{name.decode()}' header.")
                value = values[name] + b"," + value
            elif name.startswith(b"x-amz-"):
                unsigned_amz.append(name)
            values[name] = value
        authorization = values.get(b"authorization")
        if not authorization:
            raise AuthError("MissingAuthenticationTokenException", "Missing Authentication Token")
        amz_date = values.get(b"x-amz-date")
        start, found, signature = authorization.rpartition(b"Signature=")
        scope = self._scopes.get(start) if found else None
        if scope is None or amz_date is None or b"," in signature:
            scope, signature, amz_date = self._parse(authorization, start, values)
        for name in unsigned_amz:
            if name not in scope.signed_headers:
                raise AuthError(
                    "InvalidSignatureException",
                    f"There were headers present in the request which were not signed: {_text(name)}",
                )
        token = values.get(b"x-amz-security-token")
        secret = self._find_secret(scope.access_key_id, None if token is None else _text(token))
        if secret is None:
            raise AuthError("UnrecognizedClientException", "The security token included in the request is invalid.")
        self._check_scope(scope, amz_date)
        self._check_time(amz_date)
        return Claim(scope, signature, amz_date, secret, values, values.get(b"x-amz-content-sha256"))

    def prove(self, claim: Claim, method: bytes, raw_path: bytes, query: bytes, hashed: bytes) -> str:
        """Check the signature itself; `hashed` is the payload's hash from `payload_hash`. Raises AuthError."""
        scope, values = claim.scope, claim.values
        lines = []
        for name in scope.signed_headers:
            value = values.get(name)
            if value is None:
                raise AuthError("InvalidSignatureException", _MISMATCH)
            if b"  " in value or b"\t" in value:
                value = b" ".join(value.split())
            lines.append(b"%b:%b\n" % (name, value.strip()))
        rest = b"%b\n%b\n%b\n%b" % (canonical_query(query), b"".join(lines), scope.signed_headers_text, hashed)
        key = self._signing_key(claim.secret, scope)
        for path in self._canonical_paths(raw_path):
            digest = _sha256_hex(b"%b\n%b\n%b" % (method, path, rest))
            to_sign = b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (claim.amz_date, scope.scope_text, digest)
            if hmac.compare_digest(key.sign(to_sign), claim.signature):
                return scope.access_key_id
        raise AuthError("InvalidSignatureException", _MISMATCH)

    def _parse(self, authorization: bytes, start: bytes, values: dict[bytes, bytes]) -> tuple[Scope, bytes, bytes]:
        fields = _authorization_fields(authorization)
        amz_date = values.get(b"x-amz-date")
        missing = [
            f"Authorization header requires '{name}' parameter."
            for name in ("Credential", "Signature", "SignedHeaders")
            if not fields.get(name.encode())
        ]
        if amz_date is None:
            missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
        if missing or amz_date is None:
            raise _incomplete(" ".join(missing), authorization)
        credential = fields[b"Credential"]
        parts = credential.rsplit(b"/", 4)
        if len(parts) != 5:
            raise _incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                f"got '{_text(credential)}'.",
                authorization,
            )
        names = tuple(fields[b"SignedHeaders"].lower().split(b";"))
        if b"host" not in names:
            raise AuthError(
                "InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
            )
        if b"x-amz-date" not in names:
            raise AuthError("InvalidSignatureException", "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.")
        if parts[4] != b"aws4_request":
            raise AuthError("InvalidSignatureException", "Credential should be scoped with a valid terminator: 'aws4_request'.")
        if len(names) > SIGNED_HEADERS_MAX or list(names) != sorted(set(names)):
            raise AuthError("InvalidSignatureException", _MISMATCH)
        scope = Scope(_text(parts[0]), parts[1], parts[2], parts[3], names, b";".join(names), b"/".join(parts[1:]))
        # Only the usual spelling, with the signature last, is worth remembering.
        if b"Signature=" not in start and authorization == start + b"Signature=" + fields[b"Signature"]:
            _remember(self._scopes, start, scope)
        return scope, fields[b"Signature"], amz_date

    def _check_scope(self, scope: Scope, amz_date: bytes) -> None:
        wrong = []
        if scope.region != self._region:
            wrong.append(f"Credential should be scoped to a valid region, not '{_text(scope.region)}'.")
        if scope.service != self._service:
            wrong.append(f"Credential should be scoped to correct service: '{_text(self._service)}'.")
        if scope.date != amz_date[:8]:
            wrong.append(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{_text(scope.date)}' != '{_text(amz_date[:8])}', from '{_text(amz_date)}'."
            )
        if wrong:
            raise AuthError("InvalidSignatureException", " ".join(wrong))

    def _check_time(self, amz_date: bytes) -> None:
        signed_at = self._times.get(amz_date)
        if signed_at is None:
            signed_at = _parse_amz_date(amz_date)
            _remember(self._times, amz_date, signed_at)
        now = self._now()
        if signed_at < now - SIGNATURE_SKEW_S:
            limit = f"{_amz_date(now - SIGNATURE_SKEW_S)} ({_amz_date(now)} - {SIGNATURE_SKEW_S // 60} min.)"
            raise AuthError("InvalidSignatureException", f"Signature expired: {_text(amz_date)} is now earlier than {limit}")
        if signed_at > now + SIGNATURE_SKEW_S:
            limit = f"{_amz_date(now + SIGNATURE_SKEW_S)} ({_amz_date(now)} + {SIGNATURE_SKEW_S // 60} min.)"
            raise AuthError(
                "InvalidSignatureException", f"Signature not yet current: {_text(amz_date)} is still later than {limit}"
            )

    def _signing_key(self, secret: bytes, scope: Scope) -> SigningKey:
        # The secret is part of the key, so that one that was changed is never answered for by its predecessor.
        key = self._keys.get((secret, scope.scope_text))
        if key is None:
            derived = b"AWS4" + secret
            for part in (scope.date, scope.region, scope.service, b"aws4_request"):
                derived = hmac.digest(derived, part, "sha256")
            key = SigningKey(derived)
            _remember(self._keys, (secret, scope.scope_text), key)
        return key

    def _canonical_paths(self, raw_path: bytes) -> tuple[bytes, ...]:
        found = self._paths.get(raw_path)
        if found is None:
            found = canonical_paths(raw_path)
            _remember(self._paths, raw_path, found)
        return found


def payload_hash(claim: Claim, body: bytes) -> bytes:
    """The hash that the canonical request ends with. Raises AuthError when the client named another than the body's."""
    named = claim.payload_hash
    if named == UNSIGNED_PAYLOAD:
        return named
    if named is not None and _HEX_SHA256.fullmatch(named) is None:
        raise AuthError("InvalidSignatureException", "The value of 'x-amz-content-sha256' header is invalid.")
    actual = _sha256_hex(body) if body else EMPTY_SHA256
    if named is not None and not hmac.compare_digest(named, actual):
        raise AuthError(
            "InvalidSignatureException", "The provided 'x-amz-content-sha256' header does not match what was computed."
        )
    return actual


def canonical_paths(raw_path: bytes) -> tuple[bytes, ...]:
    """The canonical forms of a path that clients are known to sign, the usual one first.

    Most encode the path of the wire once more. Some encode twice from the decoded text, which differs where the wire has
    characters that need no encoding, as the colons of an ARN. Dot segments and double slashes are removed by some.
    """
    if _PLAIN_PATH.fullmatch(raw_path) is not None and b"/." not in raw_path:
        return (raw_path,)
    forms = []
    for path in (_without_dot_segments(raw_path), raw_path):
        forms.append(quote(path, safe="/~").encode())
        segments = [quote(unquote_to_bytes(part), safe="~") for part in path.split(b"/")]
        forms.append(quote("/".join(segments), safe="/~").encode())
    return tuple(dict.fromkeys(forms))


def _without_dot_segments(path: bytes) -> bytes:
    kept: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if kept:
                kept.pop()
        elif part and part != b".":
            kept.append(part)
    normal = b"/" + b"/".join(kept)
    return normal + b"/" if path.endswith(b"/") and kept else normal


def canonical_query(query: bytes) -> bytes:
    """Names and values decoded, encoded AWS's way, sorted."""
    if not query:
        return b""
    if _PLAIN_QUERY.fullmatch(query) is not None:
        return query
    pairs = []
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            pairs.append((quote(unquote_to_bytes(name), safe="~"), quote(unquote_to_bytes(value), safe="~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs)).encode()


def _authorization_fields(authorization: bytes) -> dict[bytes, bytes]:
    algorithm, _, rest = authorization.strip().partition(b" ")
    if algorithm != ALGORITHM:
        if algorithm.startswith(b"AWS4-"):
            raise AuthError(
                "IncompleteSignatureException",
                f"Unsupported AWS 'algorithm': '{_text(algorithm)}' (only AWS4-HMAC-SHA256 for now).",
            )
        raise _incomplete("Authorization header is not AWS4-HMAC-SHA256.", authorization)
    fields: dict[bytes, bytes] = {}
    for part in rest.replace(b",", b" ").split():
        name, equals, value = part.partition(b"=")
        if not equals:
            raise _incomplete(
                f"'{_text(part)}' not a valid key=value pair (missing equal-sign) in Authorization header.", authorization
            )
        if name in fields:
            raise _incomplete(f"Authorization header has more than one '{_text(name)}' parameter.", authorization)
        fields[name] = value
    return fields


def _incomplete(text: str, authorization: bytes) -> AuthError:
    """AWS shows a hash of the header, never the header: it may hold somebody's password."""
    shown = base64.b64encode(hashlib.sha256(authorization).digest()).decode()
    return AuthError(
        "IncompleteSignatureException", f"{text} (Hashed with SHA-256 and encoded with Base64) Authorization={shown}"
    )


def _parse_amz_date(text: bytes) -> float:
    if _AMZ_DATE.fullmatch(text) is not None:
        try:
            return datetime.strptime(text.decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    raise AuthError("IncompleteSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{_text(text)}'.")


def _amz_date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")


def _remember(cache: dict[K, V], key: K, value: V) -> None:
    if len(cache) >= CACHE_ENTRIES_MAX:
        cache.clear()
    cache[key] = value


def _text(value: bytes) -> str:
    return value.decode("latin-1")
