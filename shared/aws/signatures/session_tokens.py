"""Temporary credentials that need no store: the session token says whose they are and until when, and a keyed hash proves it.

The secret access key follows from the token's contents and the cluster's secret, so that any frontend can verify what any
worker issued. Permissions are the account's; the principal is told for whoever decides by it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

import msgspec

from shared.domain.errors import AuthError

KEY_ID_PREFIX = "ASIA"
"""What AWS's temporary key ids begin with."""
TOKEN_CHARACTERS_MAX = 2_048
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MAC_BYTES = 32


class TemporaryCredentials(msgspec.Struct, frozen=True):
    access_key_id: str
    secret_access_key: str
    session_token: str


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What a token holds. principal: an ARN, as of `sts:GetCallerIdentity`. expires_at_s: Unix seconds."""

    access_key_id: str
    principal: str
    expires_at_s: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


def issue(cluster_secret: bytes, principal: str, expires_at_s: int) -> TemporaryCredentials:
    """New credentials, different each time. Raises ValueError without a cluster secret: anybody could make the same."""
    if not cluster_secret:
        raise ValueError("temporary credentials need a cluster secret")
    key_id = KEY_ID_PREFIX + "".join(secrets.choice(_BASE32) for _ in range(16))
    contents = _encode(Session(key_id, principal, expires_at_s))
    token = base64.b64encode(_keyed(cluster_secret, b"token", contents) + contents).decode()
    return TemporaryCredentials(key_id, _secret(cluster_secret, contents), token)


def find_session(cluster_secret: bytes, token: str) -> Session | None:
    """What a token holds, expired or not; None for a token that this cluster did not issue."""
    opened = _open(cluster_secret, token)
    return None if opened is None else opened[0]


def find_secret(cluster_secret: bytes, access_key_id: str, token: str, now_s: float) -> bytes | None:
    """The secret access key that goes with a token; None when the two do not belong together. Raises AuthError when expired."""
    opened = _open(cluster_secret, token)
    if opened is None or opened[0].access_key_id != access_key_id:
        return None
    if now_s >= opened[0].expires_at_s:
        raise AuthError("ExpiredTokenException", "The security token included in the request is expired")
    return _secret(cluster_secret, opened[1]).encode()


def _open(cluster_secret: bytes, token: str) -> tuple[Session, bytes] | None:
    if not cluster_secret or len(token) > TOKEN_CHARACTERS_MAX:
        return None
    try:
        raw = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, contents = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _keyed(cluster_secret, b"token", contents)):
        return None
    return _decode(contents), contents


def _secret(cluster_secret: bytes, contents: bytes) -> str:
    """40 characters, as AWS's."""
    return base64.b64encode(_keyed(cluster_secret, b"secret", contents)[:30]).decode()


def _keyed(cluster_secret: bytes, use: bytes, message: bytes) -> bytes:
    """A hash for one use: no other use of the cluster's secret gives the same."""
    key = hmac.digest(cluster_secret, b"lambdad temporary credentials: " + use, "sha256")
    return hmac.digest(key, message, "sha256")
