"""Pages of lists: Limit and NextToken, as EventBridge names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shared.aws import page_tokens
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ValidationException

T = TypeVar("T")
ITEMS_MAX = 100


def size(params: Params) -> int:
    return min(int(params.get("Limit") or ITEMS_MAX), ITEMS_MAX)


def after(params: Params) -> str:
    """The key behind which the page begins. Raises ValidationException."""
    token = params.get("NextToken")
    if not token:
        return ""
    try:
        key = page_tokens.decode(token, str)
        if "\x00" in key:
            raise page_tokens.PageTokenError("no name has it")
        return key
    except page_tokens.PageTokenError:
        raise ValidationException("Parameter NextToken is not valid.") from None


def page(member: str, items: Sequence[T], limit: int, key: Callable[[T], str], shown: Callable[[T], Any]) -> dict[str, Any]:
    """items: limit + 1 of them, where there are so many."""
    reply: dict[str, Any] = {}
    if len(items) > limit:
        items = items[:limit]
        reply["NextToken"] = page_tokens.encode(key(items[-1]))
    reply[member] = [shown(item) for item in items]
    return reply
