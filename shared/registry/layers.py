"""Queries on layers. Publishers of one layer follow each other through its row; all else locks the layer version's own row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.registry.functions import new_revision_id, now_ms
from shared.registry.policies import Policy, Statement
from shared.registry.tables import LayerTable, LayerVersionTable

_COLUMNS: tuple[ColumnElement[Any], ...] = (
    LayerVersionTable.layer_name.expression,
    LayerVersionTable.number.expression,
    LayerVersionTable.code_sha256.expression,
    LayerVersionTable.code_bytes.expression,
    LayerVersionTable.unzipped_bytes.expression,
    LayerVersionTable.description.expression,
    LayerVersionTable.license_info.expression,
    LayerVersionTable.compatible_runtimes.expression,
    LayerVersionTable.compatible_architectures.expression,
    LayerVersionTable.created_ms.expression,
)
_POLICY: tuple[ColumnElement[Any], ...] = (
    LayerVersionTable.policy_statements.expression,
    LayerVersionTable.policy_revision_id.expression,
)
_IS_ONE = (
    (LayerVersionTable.region == bindparam("region"))
    & (LayerVersionTable.layer_name == bindparam("name"))
    & (LayerVersionTable.number == bindparam("version"))
)
_ONE = select(*_COLUMNS, *_POLICY).where(_IS_ONE)
_LOCK = _ONE.with_for_update()
_USAGE = select(func.coalesce(func.sum(LayerVersionTable.code_bytes), 0)).where(LayerVersionTable.region == bindparam("region"))


class LayerVersion(msgspec.Struct, frozen=True):
    """One published version of a layer; it never changes. compatible_...: None where the publisher left them out."""

    name: str
    number: int
    code_sha256: str
    code_bytes: int
    unzipped_bytes: int
    description: str
    license_info: str | None
    compatible_runtimes: tuple[str, ...] | None
    compatible_architectures: tuple[str, ...] | None
    created_ms: int


class FoundLayerVersion(msgspec.Struct, frozen=True):
    layer: LayerVersion
    policy: Policy | None


async def publish(connection: AsyncConnection, home: Home, layer: LayerVersion) -> LayerVersion:
    """Stores a layer version under its layer's next number, whatever number and time the record has."""
    taken = (
        upsert(LayerTable)
        .values(region=home.region, name=layer.name, last_version=1)
        .on_conflict_do_update(
            index_elements=[LayerTable.region, LayerTable.name], set_={"last_version": LayerTable.last_version + 1}
        )
        .returning(LayerTable.last_version)
    )
    number = int((await connection.execute(taken)).scalar_one())
    layer = msgspec.structs.replace(layer, number=number, created_ms=now_ms())
    values = msgspec.structs.asdict(layer)
    values["layer_name"] = values.pop("name")
    for name in ("compatible_runtimes", "compatible_architectures"):
        values[name] = None if values[name] is None else list(values[name])
    await connection.execute(insert(LayerVersionTable).values(region=home.region, **values))
    return layer


async def find(connection: AsyncConnection, home: Home, name: str, number: int) -> FoundLayerVersion | None:
    row = (await connection.execute(_ONE, {"region": home.region, "name": name, "version": number})).first()
    return None if row is None else _found(row)


async def lock(connection: AsyncConnection, home: Home, name: str, number: int) -> FoundLayerVersion | None:
    """The layer version, kept from other writers until the transaction ends."""
    row = (await connection.execute(_LOCK, {"region": home.region, "name": name, "version": number})).first()
    return None if row is None else _found(row)


async def hold(
    connection: AsyncConnection, home: Home, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], LayerVersion]:
    """Those of the (name, number) pairs that exist, kept from being deleted until the transaction ends.

    Always locked in the same order, so that two who hold the same layers cannot wait for each other.
    """
    statement = (
        select(*_COLUMNS)
        .where(
            LayerVersionTable.region == home.region,
            tuple_(LayerVersionTable.layer_name, LayerVersionTable.number).in_(wanted),
        )
        .order_by(LayerVersionTable.layer_name, LayerVersionTable.number)
        .with_for_update(read=True)
    )
    found = [_layer(row) for row in await connection.execute(statement)]
    return {(layer.name, layer.number): layer for layer in found}


async def page(
    connection: AsyncConnection, home: Home, after: str, limit: int, runtime: str | None, architecture: str | None
) -> list[LayerVersion]:
    """Of each layer whose name follows `after` the newest version that is compatible; layers without one are left out."""
    statement: Select[Any] = (
        select(*_COLUMNS)
        .ext(distinct_on(LayerVersionTable.layer_name))
        .where(
            LayerVersionTable.region == home.region, LayerVersionTable.layer_name > after, *_compatible(runtime, architecture)
        )
        .order_by(LayerVersionTable.layer_name, LayerVersionTable.number.desc())
        .limit(limit)
    )
    return [_layer(row) for row in await connection.execute(statement)]


async def page_of_versions(
    connection: AsyncConnection,
    home: Home,
    name: str,
    before: int,
    limit: int,
    runtime: str | None,
    architecture: str | None,
) -> list[LayerVersion]:
    """Compatible versions of one layer with numbers below `before`, the newest first."""
    statement: Select[Any] = (
        select(*_COLUMNS)
        .where(
            LayerVersionTable.region == home.region,
            LayerVersionTable.layer_name == name,
            LayerVersionTable.number < before,
            *_compatible(runtime, architecture),
        )
        .order_by(LayerVersionTable.number.desc())
        .limit(limit)
    )
    return [_layer(row) for row in await connection.execute(statement)]


async def remove(connection: AsyncConnection, home: Home, name: str, number: int) -> None:
    """Functions that have the version keep what they noted of it; its number is never given again."""
    await connection.execute(delete(LayerVersionTable).where(_IS_ONE), {"region": home.region, "name": name, "version": number})


async def put_policy(connection: AsyncConnection, home: Home, name: str, number: int, statements: tuple[Statement, ...]) -> str:
    """Writes a locked version's statements; the policy's new RevisionId. Without any statement the policy is gone."""
    revision_id = new_revision_id()
    values: dict[str, Any] = {"policy_statements": None, "policy_revision_id": None}
    if statements:
        values = {"policy_statements": list(statements), "policy_revision_id": revision_id}
    await connection.execute(
        update(LayerVersionTable)
        .where(
            LayerVersionTable.region == home.region,
            LayerVersionTable.layer_name == name,
            LayerVersionTable.number == number,
        )
        .values(**values)
    )
    return revision_id


async def usage(connection: AsyncConnection, home: Home) -> int:
    """Bytes of all versions' packages, zipped."""
    return int((await connection.execute(_USAGE, {"region": home.region})).scalar_one())


def _compatible(runtime: str | None, architecture: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if runtime is not None:
        conditions.append(LayerVersionTable.compatible_runtimes.contains([runtime]))
    if architecture is not None:
        conditions.append(LayerVersionTable.compatible_architectures.contains([architecture]))
    return conditions


def _layer(row: Sequence[Any]) -> LayerVersion:
    values = list(row[: len(_COLUMNS)])
    for index in (7, 8):
        values[index] = None if values[index] is None else tuple(values[index])
    return LayerVersion(*values)


def _found(row: Sequence[Any]) -> FoundLayerVersion:
    statements, revision_id = row[len(_COLUMNS) :]
    policy = None if statements is None else Policy(tuple(statements), revision_id)
    return FoundLayerVersion(_layer(row), policy)
