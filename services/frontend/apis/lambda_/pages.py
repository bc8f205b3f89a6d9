"""Pages of lists. A marker says, in base64, after which key the next page begins; to clients it means nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from services.frontend.apis.lambda_.context import Request
from shared.domain.errors import InvalidParameterValueException

T = TypeVar("T")
K = TypeVar("K")
ITEMS_MAX = 50
MARKER_CHARACTERS_MAX = 2_048


def size(request: Request, *, most: int = ITEMS_MAX) -> int:
    """Items of a page: MaxItems, but never more than AWS gives."""
    return min(int(request.get("MaxItems") or most), most)


def after(request: Request, kind: type[K], start: K) -> K:
    """The key that the request's Marker holds, `start` without one. Raises InvalidParameterValueException."""
    marker = request.get("Marker")
    if not marker:
        return start
    try:
        if len(marker) > MARKER_CHARACTERS_MAX:
            raise ValueError("too long")
        return msgspec.json.decode(base64.urlsafe_b64decode(marker), type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise InvalidParameterValueException("The Marker is not one that this operation returned.") from error


def cut(items: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """Of limit + 1 items read: those of the page, and whether there are more."""
    return items[:limit], len(items) > limit


def marker(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()
