"""ListQueues, ListDeadLetterSourceQueues, GetQueueUrl: which queues there are, and where."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import QueueDoesNotExist
from services.frontend.apis.sqs.urls import NAME, arn_of, queue_named, url_of
from services.frontend.endpoint.api import Call
from shared.aws import page_tokens
from shared.aws.protocols.protocol import Params
from shared.domain.errors import InvalidParameterValueException
from shared.registry import sqs as registry

RESULTS_MAX = 1_000


async def list_queues(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    limit, after = _page(params)
    async with context.registry.read() as connection:
        names = await registry.page(connection, call.home.region, params.get("QueueNamePrefix", ""), after, limit + 1)
    urls = [url_of(call, name) for name in names[:limit]]
    return {**({"QueueUrls": urls} if urls else {}), **_next(names, limit, params)}


async def list_dead_letter_source_queues(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    name = queue_named(call, params)
    limit, after = _page(params)
    await context.found(call.home, name)
    async with context.registry.read() as connection:
        names = await registry.sources(connection, arn_of(call.home, name), after, limit + 1)
    return {"queueUrls": [url_of(call, each) for each in names[:limit]], **_next(names, limit, params)}


async def get_queue_url(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    name = params["QueueName"]
    if params.get("QueueOwnerAWSAccountId", call.home.account_id) != call.home.account_id:
        raise QueueDoesNotExist("The specified queue does not exist or you do not have access to it.")
    if NAME.fullmatch(name) is None:
        raise QueueDoesNotExist
    await context.found(call.home, name)
    return {"QueueUrl": url_of(call, name)}


def _page(params: Params) -> tuple[int, str]:
    """(how many, behind which name). Raises InvalidParameterValueException."""
    limit, token = params.get("MaxResults"), params.get("NextToken")
    if limit is not None and not 1 <= limit <= RESULTS_MAX:
        raise InvalidParameterValueException(
            f"Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and {RESULTS_MAX}."
        )
    if not token:
        return limit or RESULTS_MAX, ""
    if limit is None:
        raise InvalidParameterValueException("MaxResults is a mandatory parameter when you provide a value for NextToken.")
    try:
        after = page_tokens.decode(token, str)
    except page_tokens.PageTokenError as error:
        raise InvalidParameterValueException("Invalid or expired next token.") from error
    if NAME.fullmatch(after) is None:
        raise InvalidParameterValueException("Invalid or expired next token.")
    return limit, after


def _next(names: list[str], limit: int, params: Params) -> dict[str, str]:
    """Without MaxResults there is one page, of a thousand at most."""
    if len(names) <= limit or "MaxResults" not in params:
        return {}
    return {"NextToken": page_tokens.encode(names[limit - 1])}
