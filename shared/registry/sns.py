"""Queries on topics and subscriptions of SNS. Writers hold the lock on their topic (`lock`) and give it a new revision, so that
whoever has read the topic sees that something about it changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.topics import Protocol, Subscription, SubscriptionState, Topic
from shared.registry.sns_tables import SubscriptionTable, TopicTable
from shared.registry.tables import REVISIONS

_TOPIC: tuple[ColumnElement[Any], ...] = (
    TopicTable.name.expression,
    TopicTable.attributes.expression,
    TopicTable.tags.expression,
    TopicTable.revision.expression,
)
_SUBSCRIPTION: tuple[ColumnElement[Any], ...] = (
    SubscriptionTable.id.expression,
    SubscriptionTable.region.expression,
    SubscriptionTable.topic_name.expression,
    SubscriptionTable.protocol.expression,
    SubscriptionTable.endpoint.expression,
    SubscriptionTable.principal_arn.expression,
    SubscriptionTable.state.expression,
    SubscriptionTable.attributes.expression,
    SubscriptionTable.authenticated.expression,
    SubscriptionTable.locked.expression,
    SubscriptionTable.token.expression,
    SubscriptionTable.since_ms.expression,
    SubscriptionTable.revision.expression,
)
_THE_TOPIC = (TopicTable.region == bindparam("region"), TopicTable.name == bindparam("name"))
_OF_TOPIC = (SubscriptionTable.region == bindparam("region"), SubscriptionTable.topic_name == bindparam("name"))
_LISTED = SubscriptionTable.state != SubscriptionState.REMOVED.value
_FIND = select(*_TOPIC).where(*_THE_TOPIC)
_LOCK = _FIND.with_for_update()
_PAGE = (
    select(TopicTable.name)
    .where(TopicTable.region == bindparam("region"), TopicTable.name > bindparam("after"))
    .order_by(TopicTable.name)
    .limit(bindparam("limit"))
)
_SUBSCRIPTION_BY_ID = select(*_SUBSCRIPTION).where(SubscriptionTable.id == bindparam("id"))
_SUBSCRIPTION_BY_TOKEN = select(*_SUBSCRIPTION).where(SubscriptionTable.token == bindparam("token"))
_SUBSCRIPTION_TO = select(*_SUBSCRIPTION).where(
    *_OF_TOPIC,
    SubscriptionTable.protocol == bindparam("protocol"),
    SubscriptionTable.endpoint_digest == bindparam("digest"),
)
_CONFIRMED = select(*_SUBSCRIPTION).where(*_OF_TOPIC, SubscriptionTable.state == SubscriptionState.CONFIRMED.value)
_AFTER = SubscriptionTable.id > bindparam("after")
_SUBSCRIPTIONS_OF_TOPIC = (
    select(*_SUBSCRIPTION).where(*_OF_TOPIC, _LISTED, _AFTER).order_by(SubscriptionTable.id).limit(bindparam("limit"))
)
_SUBSCRIPTIONS = (
    select(*_SUBSCRIPTION)
    .where(SubscriptionTable.region == bindparam("region"), _LISTED, _AFTER)
    .order_by(SubscriptionTable.id)
    .limit(bindparam("limit"))
)
_TOPICS = select(func.count()).select_from(TopicTable).where(TopicTable.region == bindparam("region"))
_COUNTS = select(SubscriptionTable.state, func.count()).where(*_OF_TOPIC).group_by(SubscriptionTable.state)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def find(connection: AsyncConnection, home: Home, name: str) -> Topic | None:
    return await _topic(connection, _FIND, home, name)


async def lock(connection: AsyncConnection, home: Home, name: str) -> Topic | None:
    """The topic, kept from other writers until the transaction ends."""
    return await _topic(connection, _LOCK, home, name)


async def _topic(connection: AsyncConnection, statement: Any, home: Home, name: str) -> Topic | None:
    row = (await connection.execute(statement, {"region": home.region, "name": name})).first()
    return None if row is None else Topic(home, *row)


async def create(
    connection: AsyncConnection, home: Home, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
) -> bool:
    """False when there is such a topic already."""
    statement = (
        insert(TopicTable)
        .values(region=home.region, name=name, attributes=dict(attributes), tags=dict(tags), revision=REVISIONS.next_value())
        .on_conflict_do_nothing(index_elements=[TopicTable.region, TopicTable.name])
        .returning(TopicTable.name)
    )
    return (await connection.execute(statement)).first() is not None


async def replace(connection: AsyncConnection, topic: Topic) -> None:
    """Writes attributes and tags of a locked topic."""
    await connection.execute(
        update(TopicTable)
        .where(TopicTable.region == topic.home.region, TopicTable.name == topic.name)
        .values(attributes=topic.attributes, tags=topic.tags, revision=REVISIONS.next_value())
    )


async def touch(connection: AsyncConnection, topic: Topic) -> int:
    """Gives a locked topic, whose subscriptions change, a new revision; that one."""
    statement = (
        update(TopicTable)
        .where(TopicTable.region == topic.home.region, TopicTable.name == topic.name)
        .values(revision=REVISIONS.next_value())
        .returning(TopicTable.revision)
    )
    return int((await connection.execute(statement)).scalar_one())


async def remove(connection: AsyncConnection, home: Home, name: str) -> None:
    """With all its subscriptions; nothing happens where there is none."""
    await connection.execute(delete(TopicTable).where(TopicTable.region == home.region, TopicTable.name == name))


async def page(connection: AsyncConnection, home: Home, after: str, limit: int) -> list[str]:
    """Names of topics, following `after`."""
    return [row[0] for row in await connection.execute(_PAGE, {"region": home.region, "after": after, "limit": limit})]


async def count_topics(connection: AsyncConnection, home: Home) -> int:
    return int((await connection.execute(_TOPICS, {"region": home.region})).scalar_one())


async def count_subscriptions(connection: AsyncConnection, topic: Topic) -> dict[SubscriptionState, int]:
    rows = await connection.execute(_COUNTS, {"region": topic.home.region, "name": topic.name})
    return {SubscriptionState(state): count for state, count in rows}


async def subscription(connection: AsyncConnection, home: Home, identity: str) -> Subscription | None:
    """By its id, whatever its state."""
    row = (await connection.execute(_SUBSCRIPTION_BY_ID, {"id": identity})).first()
    found = None if row is None else _subscription_of(row, home.account_id)
    return found if found is not None and found.home == home else None


async def subscription_by_token(connection: AsyncConnection, account_id: str, token: str) -> Subscription | None:
    row = (await connection.execute(_SUBSCRIPTION_BY_TOKEN, {"token": token})).first()
    return None if row is None else _subscription_of(row, account_id)


async def subscription_to(connection: AsyncConnection, topic: Topic, protocol: Protocol, endpoint: str) -> Subscription | None:
    """Of a topic to an endpoint, whatever its state: there is one at most."""
    values = {
        "region": topic.home.region,
        "name": topic.name,
        "protocol": protocol.value,
        "digest": digest_of(endpoint),
    }
    row = (await connection.execute(_SUBSCRIPTION_TO, values)).first()
    return None if row is None else _subscription_of(row, topic.home.account_id)


async def confirmed(connection: AsyncConnection, home: Home, topic_name: str) -> list[Subscription]:
    """All that messages of a topic go to."""
    rows = await connection.execute(_CONFIRMED, {"region": home.region, "name": topic_name})
    return [_subscription_of(row, home.account_id) for row in rows]


async def subscriptions(
    connection: AsyncConnection, home: Home, topic_name: str | None, after: str, limit: int
) -> list[Subscription]:
    """Of a topic, or of all for None: those whose ids follow `after`."""
    values = {"region": home.region, "after": after, "limit": limit}
    if topic_name is None:
        rows: Sequence[Row[Any]] = (await connection.execute(_SUBSCRIPTIONS, values)).all()
    else:
        rows = (await connection.execute(_SUBSCRIPTIONS_OF_TOPIC, {**values, "name": topic_name})).all()
    return [_subscription_of(row, home.account_id) for row in rows]


async def put_subscription(connection: AsyncConnection, found: Subscription) -> None:
    """Makes a subscription of a locked topic, or writes all of it."""
    values = {
        "region": found.home.region,
        "topic_name": found.topic_name,
        "protocol": found.protocol.value,
        "endpoint": found.endpoint,
        "endpoint_digest": digest_of(found.endpoint),
        "principal_arn": found.principal_arn,
        "state": found.state.value,
        "attributes": found.attributes,
        "authenticated": found.authenticated,
        "locked": found.locked,
        "token": found.token,
        "since_ms": found.since_ms,
        "revision": found.revision,
    }
    statement = insert(SubscriptionTable).values(id=found.id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=[SubscriptionTable.id], set_=values))


async def drop_subscription(connection: AsyncConnection, identity: str) -> None:
    await connection.execute(delete(SubscriptionTable).where(SubscriptionTable.id == identity))


async def drop_expired(connection: AsyncConnection, topic: Topic, before_ms: int) -> None:
    """Subscriptions that nobody confirmed, or that nobody brought back, since then."""
    await connection.execute(
        delete(SubscriptionTable).where(
            SubscriptionTable.region == topic.home.region,
            SubscriptionTable.topic_name == topic.name,
            SubscriptionTable.state != SubscriptionState.CONFIRMED.value,
            SubscriptionTable.since_ms < before_ms,
        )
    )


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _subscription_of(row: Any, account_id: str) -> Subscription:
    identity, region, topic_name, protocol, endpoint, principal_arn, state, *rest = row
    return Subscription(
        identity,
        Home(account_id, region),
        topic_name,
        Protocol(protocol),
        endpoint,
        principal_arn,
        SubscriptionState(state),
        *rest,
    )
