"""The key that messages are signed with, so that whoever gets one can tell that it came from this cluster.

One key a cluster, made at first use and kept in Postgres, sealed with the cluster's secret; its certificate is signed by itself
and is served on the endpoint. Source of what is signed and how: "Verifying the signatures of Amazon SNS messages" in the SNS
developer guide.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import logging
from collections.abc import Mapping

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from shared.registry import signing_keys
from shared.registry.registry import Registry
from shared.registry.signing_keys import SealedKey

log = logging.getLogger("lambdad.sns")

KEY_BITS = 2_048
VALID_DAYS = 3_650
PAGE = "SimpleNotificationService-"
"""What the name of a certificate's page begins with, as AWS's do."""
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""Which members of a document are signed, by its type, in their order."""


class SigningKey(msgspec.Struct, frozen=True):
    """id: of its certificate's page."""

    id: str
    private: rsa.RSAPrivateKey

    def sign(self, document: Mapping[str, str], version: str) -> str:
        """The signature of a document. version: "1" is RSA with SHA-1, "2" with SHA-256. Takes about a millisecond."""
        algorithm: hashes.HashAlgorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
        signature = self.private.sign(text_of(document), padding.PKCS1v15(), algorithm)
        return base64.b64encode(signature).decode()

    def page_of(self, endpoint: str) -> str:
        """Where the certificate is. endpoint: of the cluster, as its clients reach it."""
        return f"{endpoint}/{PAGE}{self.id}.pem"


def text_of(document: Mapping[str, str]) -> bytes:
    """What is signed of a document: name and value of each member, a line each."""
    lines = [f"{name}\n{document[name]}\n" for name in SIGNED[document["Type"]] if name in document]
    return "".join(lines).encode()


async def load(registry: Registry, secret: bytes) -> SigningKey:
    """The cluster's key; the first who asks makes it. secret: the cluster's. Raises ServiceException."""
    async with registry.write() as connection:
        for sealed in await signing_keys.lock_all(connection):
            private = _opened(sealed.key, secret)
            if private is not None:
                return SigningKey(sealed.id, private)
            log.warning("signing key %s was sealed with another cluster secret: another one is made", sealed.id)
        made, private = _made(secret)
        await signing_keys.add(connection, made)
        return SigningKey(made.id, private)


def _passphrase(secret: bytes) -> bytes:
    return hashlib.sha256(b"sns signing key\0" + secret).hexdigest().encode()


def _opened(key: bytes, secret: bytes) -> rsa.RSAPrivateKey | None:
    try:
        found = serialization.load_pem_private_key(key, _passphrase(secret))
    except ValueError:
        return None
    return found if isinstance(found, rsa.RSAPrivateKey) else None


def _made(secret: bytes) -> tuple[SealedKey, rsa.RSAPrivateKey]:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.lambdad")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .sign(private, hashes.SHA256())
    )
    key = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(_passphrase(secret)),
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return SealedKey(certificate.fingerprint(hashes.SHA256()).hex()[:32], key, pem), private
