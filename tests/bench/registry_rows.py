"""Functions made by the hundred thousand: copies of one function's rows under other names, by COPY."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg

COPY_TIMEOUT_S = 300.0
TABLES = {"functions": "id", "versions": "function_id"}
"""The rows that make a function, and the column by which they are its."""


def name_of(number: int) -> str:
    return f"row-{number:09}"


def fill(database_url: str, template: str, numbers: range) -> None:
    """Every number becomes a function that is like the template, Active, without versions or aliases."""
    asyncio.run(copy_rows(database_url, template, numbers))


async def copy_rows(database_url: str, template: str, numbers: range) -> None:
    """What `fill` does."""
    connection = await asyncpg.connect(database_url, timeout=COPY_TIMEOUT_S)
    try:
        identity = await connection.fetchval("SELECT id FROM functions WHERE name = $1", template)
        for table, key in TABLES.items():
            row = dict(await connection.fetchrow(f"SELECT * FROM {table} WHERE {key} = $1", identity))
            records = _records(row, key, numbers)
            await connection.copy_records_to_table(table, records=records, columns=list(row), timeout=COPY_TIMEOUT_S)
        for table in TABLES:
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=COPY_TIMEOUT_S)
    finally:
        await connection.close(timeout=COPY_TIMEOUT_S)


def _records(row: dict[str, Any], key: str, numbers: range) -> Iterator[tuple[Any, ...]]:
    for number in numbers:
        changed = {**row, key: f"{number:032x}"}
        if "name" in row:
            changed["name"] = name_of(number)
        yield tuple(changed.values())
