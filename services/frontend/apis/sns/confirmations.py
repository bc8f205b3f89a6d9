"""How the owner of an address agrees to a subscription: a token that is posted there and comes back, by API or by link."""

from __future__ import annotations

import re
import secrets
import uuid

import msgspec

from services.frontend.apis.sns.context import Reply, SnsContext, found_topic
from services.frontend.apis.sns.errors import InvalidParameterException, invalid
from services.frontend.apis.sns.naming import parts_of, topic_of
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.topics import Subscription, SubscriptionState, Topic
from shared.registry import sns
from shared.sns.records import Handshake, HandshakeKind

TOKEN_MS = 3 * 24 * 3_600 * 1_000
"""How long a token is good for whom nobody has answered."""
_TOKEN_BYTES = 144
_TOKEN = re.compile(r"[0-9a-f]{288}")


def new_token() -> str:
    return secrets.token_hex(_TOKEN_BYTES)


async def ask(ctx: SnsContext, call: Call, topic: Topic, subscription: Subscription) -> None:
    """Returns once it is durable that the endpoint is to be asked. Raises ServiceException."""
    await _send(ctx, call, topic, subscription, HandshakeKind.CONFIRMATION)


async def say_goodbye(ctx: SnsContext, call: Call, topic: Topic, subscription: Subscription) -> None:
    """As `ask`, with a token that takes the removal back."""
    await _send(ctx, call, topic, subscription, HandshakeKind.REMOVAL)


async def _send(ctx: SnsContext, call: Call, topic: Topic, subscription: Subscription, kind: HandshakeKind) -> None:
    handshake = Handshake(
        kind=kind,
        message_id=str(uuid.uuid4()),
        subscription_arn=subscription.arn,
        address=subscription.endpoint,
        token=subscription.token or "",
        at_ms=sns.now_ms(),
        endpoint=call.endpoint or "",
        signature_version=topic.signature_version,
    )
    await ctx.publisher.shake_hands(handshake)


async def confirm_subscription(ctx: SnsContext, call: Call, params: Params) -> Reply:
    """The token alone says which subscription it is; it may come again."""
    by_link = call.caller.access_key_id is None
    arn, token = params["TopicArn"], params["Token"]
    region = _region_of_link(arn) if by_link else topic_of(call, arn, action="SNS:ConfirmSubscription").home.region
    if _TOKEN.fullmatch(token) is None:
        raise InvalidParameterException("Invalid parameter: Token" if by_link else "Invalid token")
    async with ctx.registry.write() as connection:
        found = await sns.subscription_by_token(connection, ctx.account_id, token)
        if found is None or (found.state is not SubscriptionState.CONFIRMED and sns.now_ms() - found.since_ms > TOKEN_MS):
            raise invalid("Token")
        if found.home.region != region:
            raise invalid("Topic")
        if found.state is not SubscriptionState.CONFIRMED:
            topic = found_topic(await sns.lock(connection, found.home, found.topic_name))
            locked = not by_link and str(params.get("AuthenticateOnUnsubscribe")).lower() == "true"
            confirmed = msgspec.structs.replace(
                found,
                state=SubscriptionState.CONFIRMED,
                authenticated=not by_link,
                locked=locked,
                since_ms=sns.now_ms(),
                revision=await sns.touch(connection, topic),
            )
            await sns.put_subscription(connection, confirmed)
    ctx.changed(found.home, found.topic_name)
    return {"SubscriptionArn": found.arn}


def _region_of_link(arn: str) -> str:
    try:
        return parts_of(arn, "Topic")[0].region
    except InvalidParameterException:
        raise invalid("Topic") from None
