"""The arithmetic of Signature Version 4: hashes, keys, times."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest().encode()
_AMZ_DATE = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_DATE_CHARACTERS_MAX = 64
_NEW_SHA256 = hashlib.sha256()


def sha256_hex(data: bytes) -> bytes:
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


def derive_key(secret: bytes, date: bytes, region: bytes, service: bytes) -> SigningKey:
    """The key of one day, region and service."""
    derived = b"AWS4" + secret
    for part in (date, region, service, b"aws4_request"):
        derived = hmac.digest(derived, part, "sha256")
    return SigningKey(derived)


def parse_amz_date(text: bytes) -> float | None:
    """Unix seconds of `20260131T235959Z`; None for anything else."""
    if _AMZ_DATE.fullmatch(text) is not None:
        try:
            return datetime.strptime(text.decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    return None


def amz_date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")


def amz_date_of(date: bytes) -> bytes | None:
    """A Date header in the form that is signed: it may have that form already, or be an HTTP date."""
    if parse_amz_date(date) is not None:
        return date
    if len(date) > _DATE_CHARACTERS_MAX:
        return None
    try:
        return amz_date(parsedate_to_datetime(date.decode("ascii")).timestamp()).encode()
    except (ValueError, OverflowError, TypeError, OSError):
        return None
