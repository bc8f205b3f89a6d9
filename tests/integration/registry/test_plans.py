"""What Postgres does for the statements that clients cause most: with many functions in the registry, index scans alone.

The statements are those that the handlers really send; they are caught on their way and explained.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.engine import make_url

from shared.registry.cache import TargetCache
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.bench.registry_rows import copy_rows, name_of
from tests.integration.registry.support import Control, function_request

FUNCTIONS = 30_000
"""Enough for a plan that reads a whole table to be the dearer one by far."""
READS_ALL = {"Seq Scan", "Sample Scan"}


class Caught:
    """The statements that went to Postgres, with their parameters."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[Any, ...]]] = []

    def __call__(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            self.statements.append((statement, tuple(parameters[0] if many else parameters)))


@pytest.fixture
def caught(registry: Registry) -> Iterator[Caught]:
    found, engine = Caught(), registry._database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", found)
    yield found
    event.remove(engine, "before_cursor_execute", found)


@pytest_asyncio.fixture(scope="module")
async def full(registry: Registry, registry_settings: Settings) -> str:
    """The address of the registry's database, which has many functions."""
    control = Control(registry_settings, registry)
    template = await control.create()
    await control.context.close()
    url = make_url(registry_settings.database_url).set(drivername="postgresql").render_as_string(False)
    await copy_rows(url, template, range(FUNCTIONS))
    return url


async def get(control: Control) -> None:
    await control("GetFunction", FunctionName=name_of(20_000))


async def list_page(control: Control) -> None:
    first = await control("ListFunctions", MaxItems=50)
    await control("ListFunctions", MaxItems=50, Marker=first["NextMarker"])


async def create(control: Control) -> None:
    await control("CreateFunction", **function_request("planned"))


async def update(control: Control) -> None:
    await control("UpdateFunctionConfiguration", FunctionName=name_of(10), Description="changed")
    await control("PublishVersion", FunctionName=name_of(10))


async def resolve(control: Control) -> None:
    await TargetCache(control.registry, control.settings).resolve(control.arn(name_of(15_000)), None)


async def resolve_alias(control: Control) -> None:
    await control("PublishVersion", FunctionName=name_of(16_000))
    await control("CreateAlias", FunctionName=name_of(16_000), Name="live", FunctionVersion="1")
    await TargetCache(control.registry, control.settings).resolve(control.arn(name_of(16_000)), "live")


@pytest.mark.parametrize("work", [get, list_page, create, update, resolve, resolve_alias], ids=lambda work: work.__name__)
async def test_no_table_of_functions_is_read_whole(
    control: Control, caught: Caught, full: str, work: Callable[[Control], Awaitable[None]]
) -> None:
    caught.statements.clear()
    await work(control)
    assert caught.statements
    for statement, parameters in caught.statements:
        assert not await read_whole(full, statement, *parameters), statement


async def test_a_table_that_is_read_whole_is_seen(full: str) -> None:
    assert await read_whole(full, "SELECT id FROM functions WHERE lower(name) = $1", "x") == ["functions"]


async def read_whole(url: str, statement: str, *parameters: Any) -> list[str]:
    """The tables of functions that the statement's plan reads from the first row to the last."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        told = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters, timeout=10)
    finally:
        await connection.close(timeout=10)
    found = [node for node in nodes(json.loads(told)[0]["Plan"]) if node["Node Type"] in READS_ALL]
    return [node["Relation Name"] for node in found if node["Relation Name"] in ("functions", "versions")]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)
