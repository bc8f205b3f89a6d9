"""Credentials for functions. Placeholders: random and of the right form, they open nothing until roles are enforced.

Each environment has its own, as on AWS, so that code which compares or logs them behaves as there.
"""

from __future__ import annotations

import secrets

import msgspec

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Credentials(msgspec.Struct, frozen=True):
    access_key_id: str
    secret_access_key: str
    session_token: str


def placeholder_credentials() -> Credentials:
    """A key id like those that AWS gives to temporary credentials (ASIA and 16 characters), a secret and a token."""
    return Credentials(
        access_key_id="ASIA" + "".join(secrets.choice(_BASE32) for _ in range(16)),
        secret_access_key=secrets.token_urlsafe(30),
        session_token=secrets.token_urlsafe(96),
    )
