"""Schedules: how late the firings of one minute are, with many more schedules that are at rest, and what those cost.

The rows are made by COPY, as CreateSchedule makes them, and what fires is read where it is handed over: on the topic of
deliveries. Lateness is from when a firing was due to when its record was made, by the same machine's clock.
"""

from __future__ import annotations

import asyncio
import time
import traceback
import uuid
from collections.abc import Iterator
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from shared.events.kafka import client_arguments
from shared.events.records import Behalf, RecordError, decode_delivery
from shared.settings.kafka import KafkaCluster
from tests.bench.peers.cluster import Cluster
from tests.bench.report import Outcome, Row

AT_REST, DUE = 100_000, 1_000
AHEAD_MS = 5_000
"""So long before they are due the schedules are made."""
REST_S = 10.0
DEADLINE_S = 60.0
ROUNDS = 3
REGION, ACCOUNT = "us-east-1", "000000000000"
TOPIC = "lambdad.deliveries"
TARGET = (
    f'{{"Arn": "arn:aws:sqs:{REGION}:{ACCOUNT}:bench-schedules", "RoleArn": "arn:aws:iam::{ACCOUNT}:role/r", "Input": "due"}}'
)
SCHEDULE = (
    "region", "group_name", "name", "expression", "time_zone", "state", "after_completion", "target", "created_ms", "modified_ms"
)  # fmt: skip
TIMER = (
    "owner", "generation", "expression", "time_zone", "anchor_ms", "window_ms", "due_ms", "fire_at_ms", "last_due_ms",
    "advanced_ms",
)  # fmt: skip


def schedules(cluster: Cluster, absent: str | None) -> Outcome:
    outcome = Outcome(
        "schedules", f"{DUE:,} schedules due at one time, {AT_REST:,} at rest: lateness", "p50_ms", p99_ms_max=5_000
    )
    if absent is not None:
        outcome.rows.append(Row("lambdad", absent=absent))
        return outcome
    try:
        outcome.rows.append(asyncio.run(_measure(cluster)))
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
    return outcome


async def _measure(cluster: Cluster) -> Row:
    database = await asyncpg.connect(cluster.variables["DATABASE_URL"], timeout=DEADLINE_S)
    consumer = AIOKafkaConsumer(
        TOPIC, **client_arguments(KafkaCluster.of_variables(cluster.variables)), auto_offset_reset="latest", group_id=None
    )
    await consumer.start()
    try:
        await consumer.seek_to_end()
        now_ms = _now_ms()
        await database.execute(
            "INSERT INTO schedule_groups VALUES ($1, 'default', '{}', $2, $2) ON CONFLICT DO NOTHING", REGION, now_ms
        )
        await _fill(database, f"rest-{uuid.uuid4().hex[:8]}", AT_REST, "rate(9999 days)", now_ms + 1_000 * 86_400_000)
        await database.execute("VACUUM ANALYZE timers", timeout=DEADLINE_S)
        rest = await asyncio.to_thread(_rest, cluster)
        lateness: list[float] = []
        for _ in range(ROUNDS):
            prefix = f"due-{uuid.uuid4().hex[:8]}"
            due_ms = (_now_ms() + AHEAD_MS) // 1_000 * 1_000
            at = time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(due_ms // 1_000))
            await _fill(database, prefix, DUE, at, due_ms)
            lateness += await _lateness(consumer, prefix, due_ms)
    finally:
        await consumer.stop()
        await database.close(timeout=DEADLINE_S)
    lateness.sort()
    p50, p99 = (lateness[int(len(lateness) * part)] for part in (0.5, 0.99))
    note = f"at rest, all services and engines: {rest:.1%} of one processor"
    return Row("lambdad", p50_ms=p50, p99_ms=p99, count=len(lateness), failed=ROUNDS * DUE - len(lateness), note=note)


async def _fill(database: Any, prefix: str, count: int, expression: str, due_ms: int) -> None:
    now_ms = _now_ms()

    def made() -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            name = f"{prefix}-{number}"
            yield REGION, "default", name, expression, "UTC", "ENABLED", "NONE", TARGET, now_ms, now_ms

    def timed() -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            owner = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{prefix}-{number}"
            yield owner, uuid.uuid4().hex, expression, "UTC", due_ms, 0, due_ms, due_ms, 0, now_ms

    async with database.transaction():
        await database.copy_records_to_table("schedules", records=made(), columns=SCHEDULE, timeout=DEADLINE_S)
        await database.copy_records_to_table("timers", records=timed(), columns=TIMER, timeout=DEADLINE_S)


async def _lateness(consumer: Any, prefix: str, due_ms: int) -> list[float]:
    """Milliseconds, of each firing once."""
    found: dict[str, float] = {}
    deadline = time.monotonic() + AHEAD_MS / 1_000 + DEADLINE_S
    while len(found) < DUE and time.monotonic() < deadline:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                try:
                    delivery = decode_delivery(record.value)
                except RecordError:
                    continue
                if delivery.behalf is Behalf.SCHEDULER and f"/{prefix}-" in delivery.source_arn:
                    found.setdefault(delivery.delivery_id, float(record.timestamp - due_ms))
    return list(found.values())


def _rest(cluster: Cluster) -> float:
    """Share of one processor that the whole cluster takes while nothing is due."""
    processes = cluster.processes()
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    began = time.monotonic()
    time.sleep(REST_S)
    return (sum(sum(process.cpu_times()[:2]) for process in processes) - before) / (time.monotonic() - began)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
