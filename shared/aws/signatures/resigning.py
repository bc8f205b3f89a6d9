"""A request on its way to another endpoint, with a signature of our own in place of the client's: botocore's signer does it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from shared.aws.signatures.sigv4 import ENCODED_ONCE, UNSIGNED_PAYLOAD
from shared.domain.errors import InvalidRequestContentException

SIGNED_CHUNKS = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_OLD = frozenset((b"authorization", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256", b"host"))
_PRESIGNED = re.compile(rb"X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token)=")


class SigningKeys(msgspec.Struct, frozen=True):
    """session_token: None with a long-term key."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class Outgoing(msgspec.Struct, frozen=True):
    """authority: the endpoint's host and port. target: path and query as they are sent. headers: lower-case names.

    payload_hash: what is signed of the body, None to leave it open.
    """

    method: str
    authority: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    payload_hash: bytes | None


def resigned(keys: SigningKeys, service: str, region: str, request: Outgoing) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """(target, headers) to send; of a presigned link, the target without its signature.

    Raises InvalidRequestContentException for what cannot be signed again: chunks that carry signatures of the client's."""
    # At first use: it is no small module, and most clusters sign nothing.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    class PathAsItIs(SigV4Auth):  # type: ignore[misc]
        def _normalize_url_path(self, path: str) -> str:
            return path

    if request.payload_hash is not None and request.payload_hash.startswith(SIGNED_CHUNKS):
        raise InvalidRequestContentException("A body in signed chunks cannot be signed again: send it whole, or unsigned.")
    target = _without_link_signature(request.target)
    authority = request.authority.decode()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers if name not in _OLD}
    headers["host"] = authority
    headers["x-amz-content-sha256"] = (request.payload_hash or UNSIGNED_PAYLOAD).decode()
    # The URL's scheme is no part of what is signed.
    outgoing = AWSRequest(request.method, f"http://{authority}{target.decode('latin-1')}", headers=headers)
    signer = PathAsItIs if service.encode() in ENCODED_ONCE else SigV4Auth
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    signer(credentials, service, region).add_auth(outgoing)
    signed = [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in outgoing.headers.items()]
    return target, signed


def _without_link_signature(target: bytes) -> bytes:
    path, mark, query = target.partition(b"?")
    pairs = query.split(b"&")
    if not any(pair.startswith(b"X-Amz-Signature=") for pair in pairs):
        return target
    kept = b"&".join(pair for pair in pairs if _PRESIGNED.match(pair) is None)
    return path + mark + kept if kept else path
