"""Tags of topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from services.frontend.apis.sns.context import Reply, SnsContext
from services.frontend.apis.sns.errors import InvalidParameterException, TagLimitExceededException
from services.frontend.apis.sns.naming import topic_of
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ResourceNotFoundException
from shared.domain.topics import Topic
from shared.registry import sns

TAGS_MAX = 50
RESERVED = "aws:"


def as_mapping(listed: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Raises InvalidParameterException, TagLimitExceededException."""
    found: dict[str, str] = {}
    for tag in listed:
        if tag["Key"] in found:
            raise InvalidParameterException("Invalid parameter: Duplicated keys are not allowed.")
        if tag["Key"].lower().startswith(RESERVED):
            raise InvalidParameterException(f"Invalid parameter: Tag keys must not begin with {RESERVED}")
        found[tag["Key"]] = tag["Value"]
    _require_few(found)
    return found


def _require_few(tags: dict[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise TagLimitExceededException("Could not complete request: tag quota of per resource exceeded")


async def list_tags_for_resource(ctx: SnsContext, call: Call, params: Params) -> Reply:
    home, name = topic_of(call, params["ResourceArn"], "ResourceArn", "SNS:ListTagsForResource")
    async with ctx.registry.read() as connection:
        topic = _found(await sns.find(connection, home, name))
    return {"Tags": [{"Key": key, "Value": value} for key, value in topic.tags.items()]}


async def tag_resource(ctx: SnsContext, call: Call, params: Params) -> Reply:
    added = as_mapping(params["Tags"])
    return await _change(ctx, call, params, lambda tags: {**tags, **added})


async def untag_resource(ctx: SnsContext, call: Call, params: Params) -> Reply:
    gone = set(params["TagKeys"])
    return await _change(ctx, call, params, lambda tags: {key: value for key, value in tags.items() if key not in gone})


async def _change(ctx: SnsContext, call: Call, params: Params, change: Callable[[dict[str, str]], dict[str, str]]) -> Reply:
    home, name = topic_of(call, params["ResourceArn"], "ResourceArn", "SNS:TagResource")
    async with ctx.registry.write() as connection:
        topic = _found(await sns.lock(connection, home, name))
        tags = change(topic.tags)
        _require_few(tags)
        await sns.replace(connection, msgspec.structs.replace(topic, tags=tags))
    ctx.changed(home, name)
    return {}


def _found(topic: Topic | None) -> Topic:
    if topic is None:
        raise ResourceNotFoundException("Resource does not exist")
    return topic
