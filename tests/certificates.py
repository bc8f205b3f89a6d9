"""Certificates as an operator makes them for TLS between hosts: an authority of the cluster's own, and one for each host."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shared.settings import DispatchSettings


class Authority:
    """ca_file: what everybody trusts."""

    def __init__(self, folder: Path, name: str = "cluster") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = folder / f"{name}-ca.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        ca = (
            _certificate(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(ca.public_bytes(Encoding.PEM))

    def settings(self, host: str, **others: object) -> DispatchSettings:
        """Of a host, with a certificate for its address."""
        certificate, key = self.issue(host)
        tls = {"tls_ca_file": self.ca_file, "tls_certificate_file": certificate, "tls_key_file": key}
        return DispatchSettings.model_validate(tls | others)

    def issue(self, host: str) -> tuple[Path, Path]:
        """A certificate for an IP address or a name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _certificate(_name(host), self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([_subject(host)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate_file, key_file = self._folder / f"{host}.pem", self._folder / f"{host}.key"
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_file, key_file


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _subject(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
