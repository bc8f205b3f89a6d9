"""Subscriptions: made, told, changed, listed and removed."""

from __future__ import annotations

import json
import uuid

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.sns import confirmations, subscription_rules
from services.frontend.apis.sns.context import Reply, SnsContext, found_topic
from services.frontend.apis.sns.errors import (
    AuthorizationErrorException,
    NotFoundException,
    SubscriptionLimitExceededException,
    invalid,
)
from services.frontend.apis.sns.naming import subscription_of, topic_of
from services.frontend.apis.sns.pages import PAGE_ITEMS, after, next_token
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.delivery_policies import effective_of_subscription
from shared.domain.topics import Subscription, SubscriptionState, Topic
from shared.registry import sns

SUBSCRIPTIONS_MAX = 10_000
"""Of a topic: whoever fans out keeps all of them in memory."""
PENDING = "pending confirmation"


async def subscribe(ctx: SnsContext, call: Call, params: Params) -> Reply:
    """To the same endpoint again with the same attributes, or without any, is the same subscription."""
    home, name = topic_of(call, params["TopicArn"], action="SNS:Subscribe")
    protocol = subscription_rules.protocol_of(params["Protocol"])
    endpoint = params.get("Endpoint")
    if endpoint is None:
        raise invalid("Endpoint", "no value for required parameter")
    async with ctx.registry.write() as connection:
        topic = found_topic(await sns.lock(connection, home, name))
        subscription_rules.check_endpoint(topic, protocol, endpoint)
        asked = subscription_rules.of_subscribe(topic, protocol, endpoint, params.get("Attributes") or {})
        await sns.drop_expired(connection, topic, sns.now_ms() - confirmations.TOKEN_MS)
        found = await sns.subscription_to(connection, topic, protocol, endpoint)
        if found is None or found.state is SubscriptionState.REMOVED:
            await _require_room(connection, topic)
            if found is not None:
                await sns.drop_subscription(connection, found.id)
            subscription = await _made(connection, topic, call, params, asked)
        else:
            subscription = found
            _require_same(found, asked)
    ctx.changed(home, name)
    pending = subscription.state is SubscriptionState.PENDING
    if pending and protocol.by_address:
        await confirmations.ask(ctx, call, topic, subscription)
    told = pending and not params.get("ReturnSubscriptionArn")
    return {"SubscriptionArn": PENDING if told else subscription.arn}


async def _require_room(connection: AsyncConnection, topic: Topic) -> None:
    if sum((await sns.count_subscriptions(connection, topic)).values()) >= SUBSCRIPTIONS_MAX:
        raise SubscriptionLimitExceededException("Subscription limit exceeded")


async def _made(
    connection: AsyncConnection, topic: Topic, call: Call, params: Params, attributes: dict[str, str]
) -> Subscription:
    protocol = subscription_rules.protocol_of(params["Protocol"])
    pending = protocol.needs_confirmation
    made = Subscription(
        id=str(uuid.uuid4()),
        home=topic.home,
        topic_name=topic.name,
        protocol=protocol,
        endpoint=params["Endpoint"],
        principal_arn=call.caller.arn,
        state=SubscriptionState.PENDING if pending else SubscriptionState.CONFIRMED,
        attributes=attributes,
        authenticated=not pending,
        token=confirmations.new_token() if pending else None,
        since_ms=sns.now_ms(),
        revision=await sns.touch(connection, topic),
    )
    await sns.put_subscription(connection, made)
    return made


def _require_same(found: Subscription, asked: dict[str, str]) -> None:
    defaults = subscription_rules.DEFAULTS
    if any(found.attributes.get(key, defaults.get(key)) != value for key, value in asked.items()):
        raise invalid("Attributes", "Subscription already exists with different attributes")


async def get_subscription_attributes(ctx: SnsContext, call: Call, params: Params) -> Reply:
    home, _, identity = subscription_of(call, params["SubscriptionArn"])
    async with ctx.registry.read() as connection:
        found = _listed(await sns.subscription(connection, home, identity))
        topic = found_topic(await sns.find(connection, home, found.topic_name))
    return {"Attributes": _told(found, topic)}


def _told(found: Subscription, topic: Topic) -> dict[str, str]:
    told = {
        "ConfirmationWasAuthenticated": str(found.authenticated).lower(),
        "Endpoint": found.endpoint,
        "Owner": found.home.account_id,
        "PendingConfirmation": str(found.state is SubscriptionState.PENDING).lower(),
        "Protocol": found.protocol.value,
        "SubscriptionArn": found.arn,
        "SubscriptionPrincipal": found.principal_arn,
        "TopicArn": found.topic_arn,
        **subscription_rules.DEFAULTS,
        **found.attributes,
    }
    if "FilterPolicy" not in told:
        del told["FilterPolicyScope"]
    if found.protocol.by_address:
        policies = found.attributes.get("DeliveryPolicy"), topic.attributes.get("DeliveryPolicy")
        told["EffectiveDeliveryPolicy"] = json.dumps(effective_of_subscription(*policies), separators=(",", ":"))
    return told


async def set_subscription_attributes(ctx: SnsContext, call: Call, params: Params) -> None:
    home, topic_name, identity = subscription_of(call, params["SubscriptionArn"])
    async with ctx.registry.write() as connection:
        topic = await sns.lock(connection, home, topic_name)
        found = _listed(await sns.subscription(connection, home, identity))
        topic = found_topic(topic)
        name, value = params["AttributeName"], params.get("AttributeValue") or ""
        attributes = subscription_rules.changed(topic, found.protocol, found.endpoint, found.attributes, name, value)
        await sns.put_subscription(connection, msgspec.structs.replace(found, attributes=attributes))
        await sns.touch(connection, topic)
    ctx.changed(home, topic_name)


async def unsubscribe(ctx: SnsContext, call: Call, params: Params) -> None:
    """Whoever has the link may, unless it was confirmed with AuthenticateOnUnsubscribe; then the endpoint is told of it."""
    home, topic_name, identity = subscription_of(call, params["SubscriptionArn"])
    by_link = call.caller.access_key_id is None
    goodbye: Subscription | None = None
    async with ctx.registry.write() as connection:
        topic = await sns.lock(connection, home, topic_name)
        found = await sns.subscription(connection, home, identity)
        if topic is None or found is None or found.topic_name != topic_name or found.state is SubscriptionState.REMOVED:
            return
        if by_link and found.locked:
            raise AuthorizationErrorException("This subscription can only be removed by a signed request")
        await sns.touch(connection, topic)
        if by_link and found.protocol.by_address and found.state is SubscriptionState.CONFIRMED:
            goodbye = msgspec.structs.replace(
                found,
                state=SubscriptionState.REMOVED,
                token=confirmations.new_token(),
                since_ms=sns.now_ms(),
            )
            await sns.put_subscription(connection, goodbye)
        else:
            await sns.drop_subscription(connection, identity)
    ctx.changed(home, topic_name)
    if goodbye is not None:
        await confirmations.say_goodbye(ctx, call, topic, goodbye)


async def list_subscriptions(ctx: SnsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        found = await sns.subscriptions(connection, call.home, None, after(params), PAGE_ITEMS + 1)
    return _page(found)


async def list_subscriptions_by_topic(ctx: SnsContext, call: Call, params: Params) -> Reply:
    home, name = topic_of(call, params["TopicArn"], action="SNS:ListSubscriptionsByTopic")
    async with ctx.registry.read() as connection:
        found_topic(await sns.find(connection, home, name))
        found = await sns.subscriptions(connection, home, name, after(params), PAGE_ITEMS + 1)
    return _page(found)


def _page(found: list[Subscription]) -> Reply:
    shown = found[:PAGE_ITEMS]
    listed = [
        {
            "SubscriptionArn": one.arn if one.state is SubscriptionState.CONFIRMED else "PendingConfirmation",
            "Owner": one.home.account_id,
            "Protocol": one.protocol.value,
            "Endpoint": one.endpoint,
            "TopicArn": one.topic_arn,
        }
        for one in shown
    ]
    return {"Subscriptions": listed, "NextToken": next_token(shown[-1].id if len(found) > PAGE_ITEMS else None)}


def _listed(found: Subscription | None) -> Subscription:
    if found is None or found.state is SubscriptionState.REMOVED:
        raise NotFoundException("Subscription does not exist")
    return found
