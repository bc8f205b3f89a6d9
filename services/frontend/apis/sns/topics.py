"""Topics: made, told, changed, listed and deleted."""

from __future__ import annotations

import json

import msgspec

from services.frontend.apis.sns import tags, topic_attributes
from services.frontend.apis.sns.context import Reply, SnsContext, found_topic
from services.frontend.apis.sns.errors import InvalidParameterException, TopicLimitExceededException
from services.frontend.apis.sns.naming import topic_of
from services.frontend.apis.sns.pages import PAGE_ITEMS, after, next_token
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.delivery_policies import effective_of_topic
from shared.domain.topics import SubscriptionState, Topic, is_topic_name, topic_arn
from shared.registry import sns

TOPICS_MAX = 100_000


async def create_topic(ctx: SnsContext, call: Call, params: Params) -> Reply:
    """The same topic again with the same attributes and tags, or without any, is no error."""
    name, given = params["Name"], params.get("Attributes") or {}
    fifo = given.get("FifoTopic", "false").lower()
    if fifo not in ("true", "false"):
        raise InvalidParameterException(
            f"Invalid parameter: Attributes Reason: FifoTopic: Invalid value [{given['FifoTopic']}]. Must be true or false."
        )
    if not is_topic_name(name, fifo=fifo == "true"):
        raise InvalidParameterException("Invalid parameter: Topic Name")
    if params.get("DataProtectionPolicy"):
        given = {**given, "DataProtectionPolicy": params["DataProtectionPolicy"]}
    attributes = topic_attributes.of_creation(given, fifo=fifo == "true")
    asked = tags.as_mapping(params.get("Tags") or [])
    async with ctx.registry.write() as connection:
        if not await sns.create(connection, call.home, name, attributes, asked):
            topic = found_topic(await sns.lock(connection, call.home, name))
            _require_same(topic, attributes, asked)
        elif await sns.count_topics(connection, call.home) > TOPICS_MAX:
            raise TopicLimitExceededException("Topic limit exceeded")
    ctx.changed(call.home, name)
    return {"TopicArn": topic_arn(call.home, name)}


def _require_same(topic: Topic, attributes: dict[str, str], asked: dict[str, str]) -> None:
    if any(topic.tags.get(key) != value for key, value in asked.items()):
        raise InvalidParameterException("Invalid parameter: Tags Reason: Topic already exists with different tags")
    if any(topic.attributes.get(key, topic_attributes.DEFAULTS.get(key)) != value for key, value in attributes.items()):
        raise InvalidParameterException("Invalid parameter: Attributes Reason: Topic already exists with different attributes")


async def get_topic_attributes(ctx: SnsContext, call: Call, params: Params) -> Reply:
    home, name = topic_of(call, params["TopicArn"], action="SNS:GetTopicAttributes")
    async with ctx.registry.read() as connection:
        topic = found_topic(await sns.find(connection, home, name))
        counts = await sns.count_subscriptions(connection, topic)
    found = {
        "DisplayName": "",
        "Policy": topic_attributes.default_policy(topic.arn),
        **{key: value for key, value in topic.attributes.items() if key != "DataProtectionPolicy"},
        "EffectiveDeliveryPolicy": json.dumps(
            effective_of_topic(topic.attributes.get("DeliveryPolicy")), separators=(",", ":")
        ),
        "Owner": home.account_id,
        "SubscriptionsConfirmed": str(counts.get(SubscriptionState.CONFIRMED, 0)),
        "SubscriptionsDeleted": str(counts.get(SubscriptionState.REMOVED, 0)),
        "SubscriptionsPending": str(counts.get(SubscriptionState.PENDING, 0)),
        "TopicArn": topic.arn,
    }
    return {"Attributes": found}


async def set_topic_attributes(ctx: SnsContext, call: Call, params: Params) -> None:
    home, name = topic_of(call, params["TopicArn"], action="SNS:SetTopicAttributes")
    async with ctx.registry.write() as connection:
        topic = found_topic(await sns.lock(connection, home, name))
        attributes = topic_attributes.changed(topic, params["AttributeName"], params.get("AttributeValue") or "")
        await sns.replace(connection, msgspec.structs.replace(topic, attributes=attributes))
    ctx.changed(home, name)


async def delete_topic(ctx: SnsContext, call: Call, params: Params) -> None:
    home, name = topic_of(call, params["TopicArn"], action="SNS:DeleteTopic")
    async with ctx.registry.write() as connection:
        await sns.remove(connection, home, name)
    ctx.changed(home, name)


async def list_topics(ctx: SnsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        names = await sns.page(connection, call.home, after(params), PAGE_ITEMS + 1)
    shown = names[:PAGE_ITEMS]
    listed = [{"TopicArn": topic_arn(call.home, name)} for name in shown]
    return {"Topics": listed, "NextToken": next_token(shown[-1] if len(names) > PAGE_ITEMS else None)}


async def get_data_protection_policy(ctx: SnsContext, call: Call, params: Params) -> Reply:
    home, name = topic_of(call, params["ResourceArn"], "ResourceArn", "SNS:GetDataProtectionPolicy")
    topic = await ctx.topic(home, name)
    return {"DataProtectionPolicy": topic.attributes.get("DataProtectionPolicy", "")}


async def put_data_protection_policy(ctx: SnsContext, call: Call, params: Params) -> None:
    home, name = topic_of(call, params["ResourceArn"], "ResourceArn", "SNS:PutDataProtectionPolicy")
    async with ctx.registry.write() as connection:
        topic = found_topic(await sns.lock(connection, home, name))
        attributes = topic_attributes.changed(topic, "DataProtectionPolicy", params["DataProtectionPolicy"])
        await sns.replace(connection, msgspec.structs.replace(topic, attributes=attributes))
    ctx.changed(home, name)
