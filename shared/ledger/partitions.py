"""The partitions of the ledger's tables: made ahead of time, dropped when old or when there are too many bytes of them.

Any number of routers may do it at once: they take turns by an advisory lock.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import asyncpg
from prometheus_client import Counter, Gauge

from shared.registry.ledger_tables import PARTITION_MS
from shared.settings import LedgerSettings

log = logging.getLogger("lambdad.ledger")

DROPPED = Counter("lambdad_ledger_partitions_dropped_total", "Six hours of the ledger that were dropped", ["why"])
BYTES = Gauge("lambdad_ledger_bytes", "What the ledger's tables take on Postgres's disk")

TABLES = {"ledger_events": "accepted_ms", "ledger_steps": "at_ms"}
LOCK_KEY = 0x6C616D6C
LOCK_TIMEOUT_MS = 2_000
AHEAD_MS = PARTITION_MS
FUTURE_MS_MAX = 48 * 3_600 * 1_000
"""What is said to be later than that is a clock that is wrong."""


class Partitions:
    """Those that are known to be there, by the start of their time; and which times have a place at all."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._keep_ms = settings.keep_h * 3_600 * 1_000
        self._bytes_max = settings.bytes_max
        self._known: set[int] = set()

    def takes(self, at_ms: int, now_ms: int) -> bool:
        """False for what is older than what is kept, or of no time that can be."""
        return now_ms - self._keep_ms <= at_ms <= now_ms + FUTURE_MS_MAX

    def lacks(self, times_ms: Iterable[int]) -> set[int]:
        """Starts of the partitions that these times need and that are not known to be there."""
        return {at_ms - at_ms % PARTITION_MS for at_ms in times_ms} - self._known

    def forget(self) -> None:
        """Somebody else may have dropped what was known."""
        self._known.clear()

    async def make(self, connection: asyncpg.Connection, starts_ms: Iterable[int]) -> None:
        """Raises what asyncpg does."""
        starts_ms = sorted(starts_ms)
        async with connection.transaction():
            await self._lock(connection)
            for start_ms in starts_ms:
                for table in TABLES:
                    await _make(connection, table, start_ms)
        self._known.update(starts_ms)

    async def tend(self, connection: asyncpg.Connection, now_ms: int) -> None:
        """Makes the next one and drops what is too old or too much. Raises what asyncpg does."""
        missing = self.lacks((now_ms, now_ms + AHEAD_MS))
        if missing:
            await self.make(connection, missing)
        found = await _sizes(connection)
        oldest_ms = now_ms - self._keep_ms
        size_bytes = sum(found.values())
        BYTES.set(size_bytes)
        for start_ms in sorted(found):
            if start_ms + PARTITION_MS <= oldest_ms:
                why = "age"
            elif size_bytes > self._bytes_max and start_ms + PARTITION_MS <= now_ms:
                why = "bytes"
            else:
                break
            async with connection.transaction():
                await self._lock(connection)
                for table in TABLES:
                    await connection.execute(f"DROP TABLE IF EXISTS {_name(table, start_ms)}")
            self._known.discard(start_ms)
            size_bytes -= found[start_ms]
            DROPPED.labels(why).inc()
            log.info("six hours of the ledger from %d on were dropped because of their %s", start_ms, why)

    @staticmethod
    async def _lock(connection: asyncpg.Connection) -> None:
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")


def _name(table: str, start_ms: int) -> str:
    return f"{table}_{start_ms // PARTITION_MS}"


async def _make(connection: asyncpg.Connection, table: str, start_ms: int) -> None:
    """Attached rather than made in place: that keeps nobody from reading and writing the others."""
    name = _name(table, start_ms)
    if await connection.fetchval("SELECT to_regclass($1)", name) is not None:
        return
    await connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)")
    bounds = f"FROM ({start_ms}) TO ({start_ms + PARTITION_MS})"
    await connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}")


async def _sizes(connection: asyncpg.Connection) -> dict[int, int]:
    """Bytes by the start of the time, of both tables together."""
    sizes: dict[int, int] = {}
    for table in TABLES:
        rows = await connection.fetch(
            "SELECT inhrelid::regclass::text AS name, pg_total_relation_size(inhrelid) AS bytes "
            "FROM pg_inherits WHERE inhparent = to_regclass($1)",
            table,
        )
        for row in rows:
            number = row["name"].rpartition("_")[2]
            if number.isdecimal():
                start_ms = int(number) * PARTITION_MS
                sizes[start_ms] = sizes.get(start_ms, 0) + row["bytes"]
    return sizes
