"""Queries on connections and API destinations."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import PARTITION, Home
from shared.registry.events.tables import ApiDestinationTable, ConnectionTable


class EventConnection(msgspec.Struct, frozen=True):
    """auth: with the secrets, which no answer shows."""

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


async def page_destinations(
    connection: AsyncConnection, home: Home, prefix: str, after: str, limit: int
) -> list[ApiDestination]:
    statement = (
        select(*_DESTINATION)
        .where(
            ApiDestinationTable.region == home.region,
            ApiDestinationTable.name > after,
            ApiDestinationTable.name.startswith(prefix, autoescape=True),
        )
        .order_by(ApiDestinationTable.name)
        .limit(limit)
    )
    return [ApiDestination(home, *row) for row in await connection.execute(statement)]
