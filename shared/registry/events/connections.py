"""Queries on connections and API destinations."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import PARTITION, Home, home_of
from shared.registry.events.tables import ApiDestinationTable, ConnectionTable

AUTHORIZED, AUTHORIZING, DEAUTHORIZED = "AUTHORIZED", "AUTHORIZING", "DEAUTHORIZED"
OAUTH = "OAUTH_CLIENT_CREDENTIALS"
AUTHORIZED_TOGETHER_MAX = 20


class EventConnection(msgspec.Struct, frozen=True):
    """auth: with the secrets, which no answer shows. settings: Description, KmsKeyIdentifier, StateReason."""

    home: Home
    name: str
    id: str
    secret_id: str
    kind: str
    auth: dict[str, Any]
    settings: dict[str, Any]
    state: str
    created_ms: int
    modified_ms: int
    authorized_ms: int

    @property
    def arn(self) -> str:
        return f"arn:{PARTITION}:events:{self.home.region}:{self.home.account_id}:connection/{self.name}/{self.id}"

    @property
    def secret_arn(self) -> str:
        place = f"{self.home.region}:{self.home.account_id}"
        return f"arn:{PARTITION}:secretsmanager:{place}:secret:events!connection/{self.name}/{self.secret_id}"

    @property
    def has_secrets(self) -> bool:
        """Of one by OAuth: whether they are known, that is, whether nobody has deauthorized it."""
        client = (self.auth.get("OAuthParameters") or {}).get("ClientParameters") or {}
        return "ClientSecret" in client


class ApiDestination(msgspec.Struct, frozen=True):
    """settings: as CreateApiDestination took them."""

    home: Home
    name: str
    id: str
    settings: dict[str, Any]
    created_ms: int
    modified_ms: int

    @property
    def arn(self) -> str:
        return f"arn:{PARTITION}:events:{self.home.region}:{self.home.account_id}:api-destination/{self.name}/{self.id}"


_CONNECTION: tuple[ColumnElement[Any], ...] = tuple(
    getattr(ConnectionTable, name).expression for name in EventConnection.__struct_fields__[1:]
)
_DESTINATION: tuple[ColumnElement[Any], ...] = tuple(
    getattr(ApiDestinationTable, name).expression for name in ApiDestination.__struct_fields__[1:]
)


async def find(connection: AsyncConnection, home: Home, name: str, *, lock: bool = False) -> EventConnection | None:
    statement = select(*_CONNECTION).where(ConnectionTable.region == home.region, ConnectionTable.name == name)
    row = (await connection.execute(statement.with_for_update() if lock else statement)).first()
    return None if row is None else EventConnection(home, *row)


async def put(connection: AsyncConnection, made: EventConnection) -> None:
    values = {name: getattr(made, name) for name in EventConnection.__struct_fields__[2:]}
    await connection.execute(
        insert(ConnectionTable)
        .values(region=made.home.region, name=made.name, **values)
        .on_conflict_do_update(index_elements=[ConnectionTable.region, ConnectionTable.name], set_=values)
    )


async def remove(connection: AsyncConnection, gone: EventConnection) -> None:
    where = (ConnectionTable.region == gone.home.region, ConnectionTable.name == gone.name)
    await connection.execute(delete(ConnectionTable).where(*where))


async def page(
    connection: AsyncConnection, home: Home, prefix: str, state: str | None, after: str, limit: int
) -> list[EventConnection]:
    wanted = [
        ConnectionTable.region == home.region,
        ConnectionTable.name > after,
        ConnectionTable.name.startswith(prefix, autoescape=True),
    ]
    if state is not None:
        wanted.append(ConnectionTable.state == state)
    statement = select(*_CONNECTION).where(*wanted).order_by(ConnectionTable.name).limit(limit)
    return [EventConnection(home, *row) for row in await connection.execute(statement)]


async def count(connection: AsyncConnection, home: Home) -> int:
    statement = select(func.count()).select_from(ConnectionTable).where(ConnectionTable.region == home.region)
    return int((await connection.execute(statement)).scalar_one())


async def find_destination(connection: AsyncConnection, home: Home, name: str, *, lock: bool = False) -> ApiDestination | None:
    statement = select(*_DESTINATION).where(ApiDestinationTable.region == home.region, ApiDestinationTable.name == name)
    row = (await connection.execute(statement.with_for_update() if lock else statement)).first()
    return None if row is None else ApiDestination(home, *row)


async def put_destination(connection: AsyncConnection, made: ApiDestination) -> None:
    values = {name: getattr(made, name) for name in ApiDestination.__struct_fields__[2:]}
    await connection.execute(
        insert(ApiDestinationTable)
        .values(region=made.home.region, name=made.name, **values)
        .on_conflict_do_update(index_elements=[ApiDestinationTable.region, ApiDestinationTable.name], set_=values)
    )


async def remove_destination(connection: AsyncConnection, gone: ApiDestination) -> None:
    where = (ApiDestinationTable.region == gone.home.region, ApiDestinationTable.name == gone.name)
    await connection.execute(delete(ApiDestinationTable).where(*where))


async def connection_of(connection: AsyncConnection, account_id: str, arn: str) -> EventConnection | None:
    """By its ARN, which no connection has that is made again under the same name."""
    home, name = home_of(arn), _name_in(arn)
    found = await find(connection, home, name) if home.account_id == account_id else None
    return found if found is not None and found.arn == arn else None


async def destination_of(connection: AsyncConnection, account_id: str, arn: str) -> ApiDestination | None:
    """By its ARN, likewise."""
    home, name = home_of(arn), _name_in(arn)
    found = await find_destination(connection, home, name) if home.account_id == account_id else None
    return found if found is not None and found.arn == arn else None


def _name_in(arn: str) -> str:
    return [*arn.split("/"), ""][1]


async def authorizing(connection: AsyncConnection, account_id: str, before_ms: int) -> list[EventConnection]:
    """Those that wait for it since before a time, a few of all regions."""
    statement = (
        select(ConnectionTable.region, *_CONNECTION)
        .where(ConnectionTable.state == AUTHORIZING, ConnectionTable.modified_ms <= before_ms)
        .order_by(ConnectionTable.modified_ms)
        .limit(AUTHORIZED_TOGETHER_MAX)
    )
    return [EventConnection(Home(account_id, row[0]), *row[1:]) for row in await connection.execute(statement)]


async def settle(connection: AsyncConnection, held: EventConnection, **values: Any) -> None:
    """Changes a connection that nobody has changed since `held` was read. values: by column."""
    where = (
        ConnectionTable.region == held.home.region,
        ConnectionTable.name == held.name,
        ConnectionTable.id == held.id,
        ConnectionTable.modified_ms == held.modified_ms,
        ConnectionTable.state == held.state,
    )
    await connection.execute(update(ConnectionTable).where(*where).values(**values))


async def count_destinations(connection: AsyncConnection, home: Home) -> int:
    statement = select(func.count()).select_from(ApiDestinationTable).where(ApiDestinationTable.region == home.region)
    return int((await connection.execute(statement)).scalar_one())


async def page_destinations(
    connection: AsyncConnection, home: Home, prefix: str, connection_arn: str | None, after: str, limit: int
) -> list[ApiDestination]:
    """connection_arn: None for those of any connection."""
    wanted = [
        ApiDestinationTable.region == home.region,
        ApiDestinationTable.name > after,
        ApiDestinationTable.name.startswith(prefix, autoescape=True),
    ]
    if connection_arn is not None:
        wanted.append(ApiDestinationTable.settings["ConnectionArn"].as_string() == connection_arn)
    statement = select(*_DESTINATION).where(*wanted).order_by(ApiDestinationTable.name).limit(limit)
    return [ApiDestination(home, *row) for row in await connection.execute(statement)]
