"""Queries on what SNS remembers for mobile push and text messages."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import PARTITION, Home
from shared.registry.sns import digest_of
from shared.registry.sns_tables import PlatformApplicationTable, PlatformEndpointTable, TextMessageTable


class Application(msgspec.Struct, frozen=True):
    """attributes: those that were set, credentials among them."""

    home: Home
    platform: str
    name: str
    attributes: dict[str, str]

    @property
    def arn(self) -> str:
        return f"arn:{PARTITION}:sns:{self.home.region}:{self.home.account_id}:app/{self.platform}/{self.name}"


class Endpoint(msgspec.Struct, frozen=True):
    id: str
    home: Home
    platform: str
    application: str
    attributes: dict[str, str]

    @property
    def arn(self) -> str:
        where = f"{self.home.region}:{self.home.account_id}"
        return f"arn:{PARTITION}:sns:{where}:endpoint/{self.platform}/{self.application}/{self.id}"


_APPLICATION = (PlatformApplicationTable.platform, PlatformApplicationTable.name, PlatformApplicationTable.attributes)
_ENDPOINT = (
    PlatformEndpointTable.id,
    PlatformEndpointTable.platform,
    PlatformEndpointTable.application,
    PlatformEndpointTable.attributes,
)


async def put_application(connection: AsyncConnection, found: Application) -> None:
    key = {"region": found.home.region, "platform": found.platform, "name": found.name}
    statement = insert(PlatformApplicationTable).values(**key, attributes=found.attributes)
    await connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_={"attributes": found.attributes}))


async def application(connection: AsyncConnection, home: Home, platform: str, name: str) -> Application | None:
    """Kept from other writers until the transaction ends."""
    statement = (
        select(*_APPLICATION)
        .where(
            PlatformApplicationTable.region == home.region,
            PlatformApplicationTable.platform == platform,
            PlatformApplicationTable.name == name,
        )
        .with_for_update()
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else Application(home, *row)


async def applications(connection: AsyncConnection, home: Home, after: tuple[str, str], limit: int) -> list[Application]:
    """Those whose platform and name follow `after`."""
    columns = (PlatformApplicationTable.platform, PlatformApplicationTable.name)
    statement = (
        select(*_APPLICATION)
        .where(PlatformApplicationTable.region == home.region, _after(columns, after))
        .order_by(*columns)
        .limit(limit)
    )
    return [Application(home, *row) for row in await connection.execute(statement)]


def _after(columns: tuple[Any, Any], after: tuple[str, str]) -> Any:
    first, second = columns
    return (first > after[0]) | ((first == after[0]) & (second > after[1]))


async def remove_application(connection: AsyncConnection, home: Home, platform: str, name: str) -> None:
    """With its endpoints."""
    await connection.execute(
        delete(PlatformApplicationTable).where(
            PlatformApplicationTable.region == home.region,
            PlatformApplicationTable.platform == platform,
            PlatformApplicationTable.name == name,
        )
    )


async def create_endpoint(connection: AsyncConnection, found: Endpoint) -> None:
    await connection.execute(
        insert(PlatformEndpointTable).values(
            id=found.id,
            region=found.home.region,
            platform=found.platform,
            application=found.application,
            token_digest=digest_of(found.attributes["Token"]),
            attributes=found.attributes,
        )
    )


async def endpoint(connection: AsyncConnection, home: Home, identity: str) -> Endpoint | None:
    """Kept from other writers until the transaction ends."""
    statement = select(*_ENDPOINT).where(PlatformEndpointTable.region == home.region, PlatformEndpointTable.id == identity)
    return _endpoint_of(home, (await connection.execute(statement.with_for_update())).first())


async def endpoint_with(connection: AsyncConnection, owner: Application, token: str) -> Endpoint | None:
    statement = select(*_ENDPOINT).where(
        PlatformEndpointTable.region == owner.home.region,
        PlatformEndpointTable.platform == owner.platform,
        PlatformEndpointTable.application == owner.name,
        PlatformEndpointTable.token_digest == digest_of(token),
    )
    return _endpoint_of(owner.home, (await connection.execute(statement)).first())


async def set_endpoint(connection: AsyncConnection, found: Endpoint) -> None:
    """Writes the attributes of a locked endpoint."""
    await connection.execute(
        update(PlatformEndpointTable)
        .where(PlatformEndpointTable.id == found.id)
        .values(attributes=found.attributes, token_digest=digest_of(found.attributes["Token"]))
    )


async def endpoints(connection: AsyncConnection, owner: Application, after: str, limit: int) -> list[Endpoint]:
    statement = (
        select(*_ENDPOINT)
        .where(
            PlatformEndpointTable.region == owner.home.region,
            PlatformEndpointTable.platform == owner.platform,
            PlatformEndpointTable.application == owner.name,
            PlatformEndpointTable.id > after,
        )
        .order_by(PlatformEndpointTable.id)
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [Endpoint(row[0], owner.home, *row[1:]) for row in rows]


async def remove_endpoint(connection: AsyncConnection, home: Home, identity: str) -> None:
    await connection.execute(
        delete(PlatformEndpointTable).where(PlatformEndpointTable.region == home.region, PlatformEndpointTable.id == identity)
    )


async def sms_attributes(connection: AsyncConnection, home: Home) -> dict[str, str]:
    statement = select(TextMessageTable.attributes).where(TextMessageTable.region == home.region)
    row = (await connection.execute(statement)).first()
    return {} if row is None else dict(row[0])


async def set_sms_attributes(connection: AsyncConnection, home: Home, attributes: dict[str, str]) -> None:
    statement = insert(TextMessageTable).values(region=home.region, attributes=attributes)
    await connection.execute(statement.on_conflict_do_update(index_elements=["region"], set_={"attributes": attributes}))


def _endpoint_of(home: Home, row: Any) -> Endpoint | None:
    if row is None:
        return None
    identity, *rest = row
    return Endpoint(identity, home, *rest)
