"""Pages of lists: MaxItems and Marker, as Lambda names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from services.frontend.apis.lambda_.context import Request
from shared.aws import page_tokens
from shared.domain.errors import InvalidParameterValueException

T = TypeVar("T")
K = TypeVar("K")
ITEMS_MAX = 50


def size(request: Request, *, most: int = ITEMS_MAX) -> int:
    """Items of a page: MaxItems, but never more than AWS gives."""
    return min(int(request.get("MaxItems") or most), most)


def after(request: Request, kind: type[K], start: K) -> K:
    """The key that the request's Marker holds, `start` without one. Raises InvalidParameterValueException."""
    marker = request.get("Marker")
    if not marker:
        return start
    try:
        return page_tokens.decode(marker, kind)
    except page_tokens.PageTokenError as error:
        raise InvalidParameterValueException("The Marker is not one that this operation returned.") from error


def cut(items: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """Of limit + 1 items read: those of the page, and whether there are more."""
    return items[:limit], len(items) > limit


def marker(key: object) -> str:
    return page_tokens.encode(key)
