"""TagQueue, UntagQueue, ListQueueTags; tags of a new queue go by the same rules."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import MissingRequiredParameterException
from services.frontend.apis.sqs.urls import queue_named
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import InvalidParameterValueException
from shared.registry import sqs as registry

TAGS_MAX = 50
KEY_CHARACTERS_MAX = 128
VALUE_CHARACTERS_MAX = 256


async def tag_queue(context: SqsContext, call: Call, params: Params) -> None:
    name, tags = queue_named(call, params), params["Tags"]
    if not tags:
        raise MissingRequiredParameterException("Tags")
    async with context.registry.write() as connection:
        queue = await context.locked(connection, call.home, name)
        merged = {**queue.tags, **tags}
        check_tags(merged, name)
        await registry.put_tags(connection, queue, merged)


async def untag_queue(context: SqsContext, call: Call, params: Params) -> None:
    name, keys = queue_named(call, params), params["TagKeys"]
    if not keys:
        raise InvalidParameterValueException("Tag keys must be between 1 and 128 characters in length.")
    async with context.registry.write() as connection:
        queue = await context.locked(connection, call.home, name)
        await registry.put_tags(connection, queue, {key: value for key, value in queue.tags.items() if key not in keys})


async def list_queue_tags(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    queue = await context.found(call.home, queue_named(call, params))
    return {"Tags": queue.tags} if queue.tags else {}


def check_tags(tags: dict[str, str], queue: str) -> None:
    """Raises InvalidParameterValueException."""
    if len(tags) > TAGS_MAX:
        raise InvalidParameterValueException(f"Too many tags added for queue {queue}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
            raise InvalidParameterValueException(f"Tag keys must be between 1 and {KEY_CHARACTERS_MAX} characters in length.")
        if len(value) > VALUE_CHARACTERS_MAX:
            raise InvalidParameterValueException(
                f"Tag values must be between 0 and {VALUE_CHARACTERS_MAX} characters in length."
            )
        if key.lower().startswith("aws:"):
            raise InvalidParameterValueException("Tag keys cannot start with reserved prefixes: aws:")
