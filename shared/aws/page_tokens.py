"""Tokens of pages of lists (Marker, NextToken): base64 of the key behind which the next page begins. Clients repeat them."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

K = TypeVar("K")
CHARACTERS_MAX = 2_048


class PageTokenError(ValueError):
    """What came in is no token that this operation gave out."""


def encode(key: object) -> str:
    """key: whatever JSON can hold."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()


def decode(token: str, kind: type[K]) -> K:
    """kind: of the key. Raises PageTokenError."""
    try:
        if len(token) > CHARACTERS_MAX:
            raise ValueError("too long")
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise PageTokenError("not a token of this list") from error
