"""The ledger under faults: every event that was accepted has one row, and the row says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any

import asyncpg

from tests.support import wait_until

DEADLINE_S = 60.0
ENDED = 10
"""`shared.ledger.records.Status.SUCCEEDED`: ends are from there on."""


def untold(cluster: Any, request_ids: Collection[str]) -> list[str]:
    """Those whose end the ledger does not say within DEADLINE_S, or that it says more often than once."""
    wanted = sorted(request_ids)
    left: list[str] = wanted

    def all_told() -> bool:
        nonlocal left
        left = asyncio.run(_untold(cluster.environment["DATABASE_URL"], wanted))
        return not left

    with contextlib.suppress(AssertionError):
        wait_until(all_told, deadline_s=DEADLINE_S, poll_s=0.5)
    return left


async def _untold(url: str, wanted: list[str]) -> list[str]:
    connection = await asyncpg.connect(url, timeout=20)
    try:
        rows = await connection.fetch(
            "SELECT id::text AS id FROM ledger_events WHERE id = ANY($1::uuid[]) GROUP BY id "
            f"HAVING count(*) = 1 AND bool_and(status >= {ENDED})",
            wanted,
            timeout=20,
        )
    finally:
        await connection.close(timeout=10)
    return sorted(set(wanted) - {row["id"] for row in rows})
