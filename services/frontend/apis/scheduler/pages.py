"""Pages of lists: MaxResults and NextToken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shared.aws import page_tokens
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ValidationException

ITEMS_MAX = 100
T = TypeVar("T")
K = TypeVar("K")


def size(params: Params) -> int:
    return int(params.get("MaxResults") or ITEMS_MAX)


def after(params: Params, kind: type[K], start: K) -> K:
    """The key that the request's NextToken holds, `start` without one. Raises ValidationException."""
    token = params.get("NextToken")
    if token is None:
        return start
    try:
        return page_tokens.decode(token, kind)
    except page_tokens.PageTokenError as error:
        raise ValidationException("Invalid NextToken.") from error


def continued(reply: dict[str, Any], found: Sequence[T], limit: int, key: Callable[[T], object]) -> dict[str, Any]:
    """With a NextToken where more than `limit` were found."""
    if len(found) > limit:
        reply["NextToken"] = page_tokens.encode(key(found[limit - 1]))
    return reply
