"""Pages of a hundred, as all of SNS's lists have."""

from __future__ import annotations

from services.frontend.apis.sns.errors import InvalidParameterException
from shared.aws import page_tokens
from shared.aws.protocols.protocol import Params

PAGE_ITEMS = 100


def after(params: Params) -> str:
    """The key that the request's NextToken holds, "" without one. Raises InvalidParameterException."""
    token = params.get("NextToken")
    if not token:
        return ""
    try:
        found = page_tokens.decode(token, str)
    except page_tokens.PageTokenError:
        raise InvalidParameterException("Invalid parameter: NextToken") from None
    if "\0" in found or not found.isprintable():
        raise InvalidParameterException("Invalid parameter: NextToken")
    return found


def next_token(last: str | None) -> str | None:
    """last: the key of a page's last item; None where nothing follows it."""
    return None if last is None else page_tokens.encode(last)
