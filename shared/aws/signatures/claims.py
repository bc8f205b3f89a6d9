"""What a request says about its signature, read from the Authorization header or from a presigned query, with AWS's texts for
what is missing or malformed. Nothing is proven here."""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import unquote_to_bytes

import msgspec

from shared.aws.signatures.arithmetic import amz_date_of
from shared.domain.errors import AuthError

ALGORITHM = b"AWS4-HMAC-SHA256"
SIGNED_HEADERS_MAX = 64
EXPIRES_S_MAX = 7 * 24 * 3600
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)
_PARAMETERS = (b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature", b"X-Amz-SignedHeaders", b"X-Amz-Date")
_REGION = re.compile(rb"Credential=[^,\s&]*/([a-z0-9-]{1,63})/[A-Za-z0-9-]+/aws4_request")
_TOKEN, _EXPIRES, _PAYLOAD_HASH = b"X-Amz-Security-Token", b"X-Amz-Expires", b"X-Amz-Content-Sha256"


class Scope(msgspec.Struct, frozen=True):
    """What is said besides the signature itself."""

    access_key_id: str
    date: bytes
    region: bytes
    service: bytes
    signed_headers: tuple[bytes, ...]
    signed_headers_text: bytes
    scope_text: bytes


class Presigned(msgspec.Struct, frozen=True):
    """A presigned query's parts. expires_s: the time to live that the signer chose."""

    scope: Scope
    signature: bytes
    amz_date: bytes
    expires_s: int
    token: str | None
    payload_hash: bytes | None


def parse_authorization(authorization: bytes, values: dict[bytes, bytes]) -> tuple[Scope, bytes, bytes]:
    """(scope, signature, date as signed) of a header. values: headers by lower-case name. Raises AuthError."""
    fields = _authorization_fields(authorization)
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not fields.get(name.encode())
    ]
    dated_by = b"x-amz-date" if b"x-amz-date" in values or b"date" not in values else b"date"
    signed_at = values.get(dated_by)
    if signed_at is None:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing or signed_at is None:
        raise _incomplete(" ".join(missing), authorization)
    if dated_by == b"date":
        signed_at = amz_date_of(signed_at)
        if signed_at is None:
            raise bad_date(values[b"date"])
    credential = fields[b"Credential"]
    if credential.count(b"/") < 4:
        raise _incomplete(_credential_text(credential), authorization)
    return _scope(credential, fields[b"SignedHeaders"], dated_by), fields[b"Signature"], signed_at


def parse_presigned(query: bytes) -> Presigned | None:
    """None when the query holds no signature. Raises AuthError for one that is incomplete or asks for too much."""
    found: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        name = unquote_to_bytes(name)
        if name in _PARAMETERS or name in (_TOKEN, _EXPIRES, _PAYLOAD_HASH):
            if name in found:
                raise _parameter(f"'{name.decode()}' only once")
            found[name] = unquote_to_bytes(value)
    if not any(name in found for name in _PARAMETERS[:3]):
        return None
    for name in (*_PARAMETERS, _EXPIRES):
        if not found.get(name):
            raise _parameter(f"'{name.decode()}'")
    if found[b"X-Amz-Algorithm"] != ALGORITHM:
        raise _unsupported(found[b"X-Amz-Algorithm"])
    credential = found[b"X-Amz-Credential"]
    if credential.count(b"/") < 4:
        raise AuthError("IncompleteSignatureException", _credential_text(credential))
    token = found.get(_TOKEN)
    return Presigned(
        scope=_scope(credential, found[b"X-Amz-SignedHeaders"], None),
        signature=found[b"X-Amz-Signature"],
        amz_date=found[b"X-Amz-Date"],
        expires_s=_expires(found[_EXPIRES]),
        token=None if token is None else text_of(token),
        payload_hash=found.get(_PAYLOAD_HASH),
    )


def region_named(authorization: bytes, query: bytes) -> bytes:
    """What a signature that nobody checks is for; empty where it does not say."""
    found = _REGION.search(authorization) or _REGION.search(unquote_to_bytes(query))
    return found[1] if found is not None else b""


def is_presigned(query: bytes) -> bool:
    """Whether a query that comes with an Authorization header claims a signature of its own."""
    return b"X-Amz-Signature=" in query or b"X-Amz-Algorithm=" in query


def signed_twice() -> AuthError:
    return AuthError(
        "IncompleteSignatureException",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header should be "
        "specified.",
    )


def bad_date(text: bytes) -> AuthError:
    return AuthError("IncompleteSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{text_of(text)}'.")


def text_of(value: bytes) -> str:
    return value.decode("latin-1")


def _expires(text: bytes) -> int:
    if not text.isdigit() or len(text) > 9:
        raise AuthError("IncompleteSignatureException", "X-Amz-Expires should be a number")
    expires_s = int(text)
    if not 0 < expires_s <= EXPIRES_S_MAX:
        raise AuthError(
            "IncompleteSignatureException",
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{EXPIRES_S_MAX} seconds",
        )
    return expires_s


def _scope(credential: bytes, signed_headers: bytes, dated_by: bytes | None) -> Scope:
    parts = credential.rsplit(b"/", 4)
    names = tuple(signed_headers.lower().split(b";"))
    if b"host" not in names:
        raise AuthError(
            "InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        )
    if dated_by is not None and dated_by not in names:
        shown = "X-Amz-Date" if dated_by == b"x-amz-date" else "Date"
        raise AuthError("InvalidSignatureException", f"'{shown}' must be a 'SignedHeader' in the AWS Authorization.")
    if parts[4] != b"aws4_request":
        raise AuthError("InvalidSignatureException", "Credential should be scoped with a valid terminator: 'aws4_request'.")
    if len(names) > SIGNED_HEADERS_MAX or list(names) != sorted(set(names)):
        raise AuthError("InvalidSignatureException", MISMATCH)
    return Scope(text_of(parts[0]), parts[1], parts[2], parts[3], names, b";".join(names), b"/".join(parts[1:]))


def _authorization_fields(authorization: bytes) -> dict[bytes, bytes]:
    algorithm, _, rest = authorization.strip().partition(b" ")
    if algorithm != ALGORITHM:
        if algorithm.startswith(b"AWS4-"):
            raise _unsupported(algorithm)
        raise _incomplete("Authorization header is not AWS4-HMAC-SHA256.", authorization)
    fields: dict[bytes, bytes] = {}
    for part in rest.replace(b",", b" ").split():
        name, equals, value = part.partition(b"=")
        if not equals:
            raise _incomplete(
                f"'{text_of(part)}' not a valid key=value pair (missing equal-sign) in Authorization header.", authorization
            )
        if name in fields:
            raise _incomplete(f"Authorization header has more than one '{text_of(name)}' parameter.", authorization)
        fields[name] = value
    return fields


def _parameter(what: str) -> AuthError:
    return AuthError(
        "IncompleteSignatureException",
        f"AWS query-string parameters must include {what}. Re-examine the query-string parameters.",
    )


def _unsupported(algorithm: bytes) -> AuthError:
    return AuthError(
        "IncompleteSignatureException",
        f"Unsupported AWS 'algorithm': '{text_of(algorithm)}' (only AWS4-HMAC-SHA256 for now).",
    )


def _credential_text(credential: bytes) -> str:
    return (
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
        f"got '{text_of(credential)}'."
    )


def _incomplete(text: str, authorization: bytes) -> AuthError:
    """AWS shows a hash of the header, never the header: it may hold somebody's password."""
    shown = base64.b64encode(hashlib.sha256(authorization).digest()).decode()
    return AuthError(
        "IncompleteSignatureException", f"{text} (Hashed with SHA-256 and encoded with Base64) Authorization={shown}"
    )
