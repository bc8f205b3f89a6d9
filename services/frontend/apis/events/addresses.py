"""Addresses of others that connections and API destinations name."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.domain.errors import ValidationException


def check(address: str, member: str) -> None:
    """Of http or https: AWS takes https alone, here a cluster may have neighbours without. Raises ValidationException."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not address.isprintable() or " " in address:
        raise ValidationException(f"Parameter {member} is not valid. Reason: Must be a URL of https or http.")
