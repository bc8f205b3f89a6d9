"""`lambdad sign`: signs code packages for functions that use a code signing configuration."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from shared.domain.errors import ConfigurationError
from shared.domain.package_signatures import sign

PACKAGE_BYTES_MAX = 512 * 1024 * 1024
KEY_BYTES_MAX = 64 * 1024


def new_key(path: Path) -> str:
    """Makes a key in a new file that only its owner can read; what the settings are to name. Raises ConfigurationError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise ConfigurationError(f"the key cannot be written to {path}: {error.strerror}") from error
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def sign_file(package: Path, profile: str, key: Path, output: Path | None) -> Path:
    """Writes the signed package, in place of the unsigned one by default; where it is. Raises ConfigurationError."""
    signed = sign(_read(package, PACKAGE_BYTES_MAX), profile, _read(key, KEY_BYTES_MAX))
    target = output or package
    try:
        target.write_bytes(signed)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}") from error
    return target


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        if path.stat().st_size > bytes_max:
            raise ConfigurationError(f"{path} is larger than {bytes_max} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
