"""Signatures of code packages: an Ed25519 signature in the comment at the end of the zip, so that a signed zip stays a zip.

The comment is `lambdad-signature 1 <base64 of the signature> <ARN of the signing profile version>` and nothing else. Signed
are `lambdad-signature 1 <ARN>`, a line feed, and the SHA-512 of all bytes of the zip as it is with an empty comment: every byte
that an unpacker could read is covered, and the comment itself cannot hold anything that looks like a part of a zip.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

import msgspec

from shared.domain.errors import ConfigurationError, LambdadError

MARK = b"lambdad-signature 1 "
END_RECORD = b"PK\x05\x06"
END_RECORD_BYTES = 22
COMMENT_BYTES_MAX = 2_048
_COMMENT = re.compile(re.escape(MARK) + rb"([A-Za-z0-9+/]{86}==) (arn:[!-~]+)")


class BrokenSignatureError(LambdadError):
    """A signature that is there and does not belong to these bytes."""


class Signature(msgspec.Struct, frozen=True):
    """profile: ARN of the signing profile version that claims to have signed. digest: of the zip without the signature."""

    profile: str
    value: bytes
    digest: bytes


def signature_of(package: bytes) -> Signature | None:
    """The signature that a package carries, not verified; None when it carries none. Raises BrokenSignatureError."""
    start = package.rfind(MARK, max(0, len(package) - COMMENT_BYTES_MAX))
    if start < END_RECORD_BYTES or package[start - END_RECORD_BYTES : start - END_RECORD_BYTES + 4] != END_RECORD:
        return None
    comment = package[start:]
    match = _COMMENT.fullmatch(comment)
    if match is None or int.from_bytes(package[start - 2 : start], "little") != len(comment):
        raise BrokenSignatureError("the signature is damaged")
    return Signature(match[2].decode(), base64.b64decode(match[1]), _digest(memoryview(package)[: start - 2]))


def verify(signature: Signature, public_keys: Mapping[str, str]) -> bool:
    """Whether the key of the signature's profile is known and made it. public_keys: base64 of 32 bytes by profile.

    Raises BrokenSignatureError when the key is known and did not make it.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = public_keys.get(signature.profile)
    if key is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(
            signature.value, _message(signature.profile, signature.digest)
        )
    except InvalidSignature as error:
        raise BrokenSignatureError("the signature is not of this package") from error
    return True


def sign(package: bytes, profile: str, private_key_pem: bytes) -> bytes:
    """The package with a signature; one that it had is replaced. Raises ConfigurationError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the signing key cannot be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("the signing key must be an Ed25519 key")
    plain = _without_signature(package)
    value = base64.b64encode(key.sign(_message(profile, _digest(memoryview(plain)[:-2]))))
    comment = MARK + value + b" " + profile.encode()
    if _COMMENT.fullmatch(comment) is None or len(comment) > COMMENT_BYTES_MAX:
        raise ConfigurationError(f"{profile} is no ARN of a signing profile version")
    return plain[:-2] + len(comment).to_bytes(2, "little") + comment


def _without_signature(package: bytes) -> bytes:
    start = package.rfind(MARK, max(0, len(package) - COMMENT_BYTES_MAX))
    plain = package if start < 0 else package[: start - 2] + b"\0\0"
    if plain[-END_RECORD_BYTES:][:4] != END_RECORD or plain[-2:] != b"\0\0":
        raise ConfigurationError("the package is not a zip without a comment of its own")
    return plain


def _digest(content: memoryview) -> bytes:
    """Of a zip up to the two bytes that hold the length of its comment."""
    digest = hashlib.sha512(content)
    digest.update(b"\0\0")
    return digest.digest()


def _message(profile: str, digest: bytes) -> bytes:
    return MARK + profile.encode() + b"\n" + digest
