"""What the ledger's consumer does by itself: records of its topic to rows of a Postgres of its own, in one process.

Its cost beside events that run is seen in `asynchronous`: the ledger is always on there.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path

import asyncpg
import psutil

from deploy.local.credentials import Credentials
from deploy.local.engines.starting import make_engine, running
from services.frontend.edge.request_ids import RequestIds
from shared.ledger.joining import Joined
from shared.ledger.records import Batch, EventEntry, Status, decode_batch, encode_batch
from shared.ledger.store import LedgerStore
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.bench.report import Outcome, Row

RECORD = 450
"""Entries of one record: what a poller tells in 50 ms at 9,000 events a second."""
RECORDS = 6
"""In one transaction: what comes in 300 ms."""
ARN = "arn:aws:lambda:us-east-1:000000000000:function:bench"


def ledger_rate(workdir: Path, seconds: float) -> Outcome:
    outcome = Outcome("ledger-rate", "events that ran once, from the ledger's topic to rows, 1 process", "per_s", 30_000)
    home = workdir / "ledger"
    home.mkdir(parents=True)
    home.chmod(0o711)
    try:
        engine = make_engine("postgres", home, Credentials.new(), set())
        with running(engine, home / "postgres.log") as started:
            settings = Settings.model_validate({"database_url": started.variables["DATABASE_URL"], "data_dir": home})
            outcome.rows.append(asyncio.run(_measured(settings, seconds, home)))
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
    return outcome


async def _measured(settings: Settings, seconds: float, home: Path) -> Row:
    registry = Registry(settings)
    await registry.migrate()
    await registry.close()
    store, ids, taken = LedgerStore(settings), RequestIds(), list[float]()
    written, replayed, cpu_s, postgres_s = 0, [_records(ids)], 0.0, _postgres_s(home)
    await _write(store, replayed[0])
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        records = _records(ids)
        began, own = time.perf_counter(), time.process_time()
        await _write(store, records)
        taken.append(time.perf_counter() - began)
        cpu_s += time.process_time() - own
        written += RECORD * RECORDS
    postgres_s = _postgres_s(home) - postgres_s
    again = time.perf_counter()
    await _write(store, replayed[0])
    again = RECORD * RECORDS / (time.perf_counter() - again)
    await store.close()
    rows, size = await _kept(settings)
    if rows != written + RECORD * RECORDS:
        raise RuntimeError(f"{rows} rows of {written + RECORD * RECORDS} events")
    taken.sort()
    note = (
        f"processor for each event: {1e6 * cpu_s / written:.1f} us here, {1e6 * postgres_s / written:.1f} in Postgres; "
        f"{size / rows:.0f} bytes with indexes; written again: {again:,.0f}/s; p50, p99: of a transaction of {RECORD * RECORDS:,}"
    )
    return Row(
        "lambdad",
        p50_ms=1_000 * taken[len(taken) // 2],
        p99_ms=1_000 * taken[int(len(taken) * 0.99)],
        per_s=written / sum(taken),
        count=written,
        note=note,
    )


def _records(ids: RequestIds) -> list[bytes]:
    now_ms = time.time_ns() // 1_000_000
    done = [
        EventEntry(ids(), 0, None, Status.SUCCEEDED, now_ms, now_ms + 9, n % 8, 10**6 + n, 1, now_ms + 5, "$LATEST")
        for n in range(RECORD * RECORDS)
    ]
    return [encode_batch(Batch([ARN], done[at : at + RECORD])) for at in range(0, len(done), RECORD)]


async def _write(store: LedgerStore, records: list[bytes]) -> None:
    joined = Joined()
    for record in records:
        joined.add(decode_batch(record))
    await store.write(joined)


async def _kept(settings: Settings) -> tuple[int, int]:
    """Rows, and bytes on disk."""
    connection = await asyncpg.connect(settings.database_url, timeout=10)
    try:
        rows = await connection.fetchval("SELECT count(*) FROM ledger_events")
        size = await connection.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'ledger_events'::regclass"
        )
        return int(rows), int(size)
    finally:
        await connection.close(timeout=10)


def _postgres_s(home: Path) -> float:
    """Seconds of processor that the server has used."""
    used = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in word for word in process.info["cmdline"] or ()):
            for each in (process, *process.children(recursive=True)):
                times = each.cpu_times()
                used += times.user + times.system
    return used
