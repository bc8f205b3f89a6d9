"""Queries on the keys that SNS signs messages with."""

from __future__ import annotations

import msgspec
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry.sns_tables import SigningKeyTable

LOCK_KEY = 0x736E7331
"""Advisory lock of whoever looks whether there is a key and may make one."""


class SealedKey(msgspec.Struct, frozen=True):
    """key: PEM of the private key, sealed with the cluster's secret. certificate: PEM."""

    id: str
    key: bytes
    certificate: str


async def lock_all(connection: AsyncConnection) -> list[SealedKey]:
    """All keys; nobody else adds one until the transaction ends."""
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
    statement = select(SigningKeyTable.id, SigningKeyTable.sealed_key, SigningKeyTable.certificate)
    return [SealedKey(*row) for row in await connection.execute(statement)]


async def add(connection: AsyncConnection, key: SealedKey) -> None:
    await connection.execute(insert(SigningKeyTable).values(id=key.id, sealed_key=key.key, certificate=key.certificate))


async def certificate(connection: AsyncConnection, identity: str) -> str | None:
    statement = select(SigningKeyTable.certificate).where(SigningKeyTable.id == identity)
    row = (await connection.execute(statement)).first()
    return None if row is None else str(row[0])
