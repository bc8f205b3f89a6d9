"""Benchmarks of what runs behind a queue: asynchronous invocations and Kafka records. Progress is read where it is kept: in the
offsets that the pollers have committed."""

from __future__ import annotations

import asyncio
import time
import traceback
import uuid
from collections.abc import Awaitable

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from shared.settings.kafka import KafkaCluster
from tests.bench.functions import PAYLOAD
from tests.bench.measure import Sample, load, send_all
from tests.bench.peers.cluster import Cluster
from tests.bench.peers.taskiq_redis import Taskiq
from tests.bench.report import Outcome, Row

CLIENTS = 64
EASY_CLIENTS = 4
"""Of the events whose way to the function is timed: what the cluster accepts of all CLIENTS it could not run at once."""
SETTLE_TIMEOUT_S = 60.0
POLL_S = 0.05
TASKIQ_EVENTS = 20_000
RECORDS = 400_000
RECORDS_A_BATCH = 500
PARTITIONS = 4
BATCH_SIZE = 100
RECORD = b'{"id": 123456, "name": "a record of about a hundred bytes", "values": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}'
FUNCTION_ROUNDS = 2


class Progress:
    """How far a consumer group is behind the end of topics."""

    def __init__(self, kafka: KafkaCluster, group: str, topic: str) -> None:
        self._admin = AIOKafkaAdminClient(**client_arguments(kafka), request_timeout_ms=10_000)
        self._group, self._topic = group, topic

    async def __aenter__(self) -> Progress:
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def committed(self) -> int:
        offsets = await self._admin.list_consumer_group_offsets(self._group)
        return sum(max(o.offset, 0) for partition, o in offsets.items() if partition.topic == self._topic)

    async def wait(self, at_least: int, started: float) -> tuple[int, float]:
        """(committed, seconds since `started`) when the group got there, or at the deadline, or when it stands still."""
        deadline = time.perf_counter() + SETTLE_TIMEOUT_S
        done, at = await self.committed(), time.perf_counter()
        while done < at_least and time.perf_counter() < deadline:
            await asyncio.sleep(POLL_S)
            now = await self.committed()
            if now != done:
                done, at = now, time.perf_counter()
        return done, at - started


def asynchronous(cluster: Cluster, absent: str | None, seconds: float, taskiq: tuple[Taskiq, str | None]) -> Outcome:
    outcome = Outcome("asynchronous", "accepted (202, acks=all) and executed, 64 clients", "executed_per_s", 2_500)
    peer, missing = taskiq
    rounds: list[tuple[Sample, float]] = []
    note = ""
    theirs: list[dict[str, float]] = []
    for _ in range(FUNCTION_ROUNDS):
        if not absent:
            try:
                rounds.append(asyncio.run(_asynchronous_round(cluster, seconds)))
            except Exception as error:
                traceback.print_exc()
                absent = f"failed while it was measured: {error}"
        if not missing:
            try:
                theirs.append(peer.measure(TASKIQ_EVENTS, CLIENTS))
            except Exception as error:
                missing = f"failed while it was measured: {error}"
    if not absent:
        try:
            note = asyncio.run(_starts(cluster, seconds))
        except Exception as error:
            traceback.print_exc()
            absent = f"failed while it was measured: {error}"
    outcome.rows.append(_asynchronous_row(rounds, absent, note))
    if missing:
        outcome.rows.append(Row(peer.name, absent=missing))
    else:
        best = max(theirs, key=lambda rates: rates["executed"])
        count = TASKIQ_EVENTS * len(theirs)
        outcome.rows.append(Row(peer.name, per_s=best["accepted"], executed_per_s=best["executed"], count=count))
    return outcome


def _asynchronous_row(rounds: list[tuple[Sample, float]], absent: str | None, starts: str) -> Row:
    if absent:
        return Row("lambdad", absent=absent)
    whole = Sample()
    for sample, _ in rounds:
        whole.add(sample)
    return Row(
        "lambdad",
        p50_ms=whole.quantile_ms(0.5),
        p99_ms=whole.quantile_ms(0.99),
        # The better round of each, as of taskiq: Kafka has compiled nothing yet when the first one begins.
        per_s=max(whole.rates),
        executed_per_s=max(rate for _, rate in rounds),
        count=whole.total,
        failed=whole.bad,
        note=f"p50, p99: of the 202; {starts}",
    )


async def _asynchronous_round(cluster: Cluster, seconds: float) -> tuple[Sample, float]:
    functions = cluster.functions()
    name = await asyncio.to_thread(functions.create, "python")
    endpoint = cluster.endpoint()
    async with Progress(KafkaCluster.of_variables(cluster.variables), "lambdad.async", "lambdad.async") as progress:
        # One event through first: environments and topics are there then.
        before = await progress.committed()
        warm = await asyncio.to_thread(send_all, endpoint, [name], PAYLOAD, clients=CLIENTS, count=CLIENTS, event=True)
        before, _ = await progress.wait(before + warm.total, time.perf_counter())
        sample = await asyncio.to_thread(load, endpoint, name, PAYLOAD, clients=CLIENTS, seconds=seconds, event=True)
        good = sample.total - sample.bad
        after, took_s = await progress.wait(before + good, sample.began)
        if after < before + good:
            raise RuntimeError(f"{before + good - after} of {good} events were not settled within {SETTLE_TIMEOUT_S:.0f} s")
        return sample, good / took_s


async def _starts(cluster: Cluster, seconds: float) -> str:
    """How long events take from their 202 to the function, as the ledger has it."""
    functions, endpoint = cluster.functions(), cluster.endpoint()
    name = await asyncio.to_thread(functions.create, "python")
    connection = await asyncpg.connect(cluster.variables["DATABASE_URL"], timeout=10)
    try:
        # Environments are there then.
        await asyncio.to_thread(send_all, endpoint, [name], PAYLOAD, clients=CLIENTS, count=CLIENTS, event=True)
        await _started_ms(connection, name, CLIENTS, 0)
        since_ms = time.time_ns() // 1_000_000
        sample = await asyncio.to_thread(load, endpoint, name, PAYLOAD, clients=EASY_CLIENTS, seconds=seconds / 2, event=True)
        p50, p99 = await _started_ms(connection, name, sample.total - sample.bad, since_ms)
    finally:
        await connection.close(timeout=10)
    p50, p99 = (after_ms - sample.quantile_ms(0.5) for after_ms in (p50, p99))
    return f"from it to the start, {EASY_CLIENTS} clients, {sample.rate:,.0f}/s: p50 {p50:.1f}, p99 {p99:.1f} ms"


async def _started_ms(connection: asyncpg.Connection, function: str, count: int, since_ms: int) -> tuple[float, float]:
    """When half of a function's events accepted since then, and 99 %, had started, once the ledger has so many: from when their
    requests were read, which is before their 202."""
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:
            row = await connection.fetchrow(_STARTS, f"%:{function}", since_ms)
            if row["count"] >= count:
                return row["p50"], row["p99"]
            await asyncio.sleep(POLL_S)


_STARTS = """SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY started_after_ms) AS p50,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY started_after_ms) AS p99
    FROM ledger_events e JOIN ledger_functions f ON f.id = e.function_id
    WHERE f.arn LIKE $1 AND accepted_ms >= $2 AND status >= 10"""


def kafka_trigger(cluster: Cluster, absent: str | None) -> Outcome:
    outcome = Outcome("kafka-trigger", f"Kafka records to functions, batches of {BATCH_SIZE}", "per_s", 50_000)
    if absent:
        outcome.rows.append(Row("lambdad", absent=absent))
        return outcome
    try:
        rate = asyncio.run(_kafka_round(cluster))
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
        return outcome
    outcome.rows.append(
        Row("lambdad", per_s=rate, count=RECORDS, note=f"{PARTITIONS} partitions, records of {len(RECORD)} bytes")
    )
    return outcome


async def _kafka_round(cluster: Cluster) -> float:
    kafka = KafkaCluster.of_variables(cluster.variables)
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    functions = cluster.functions()
    name = await asyncio.to_thread(functions.create, "batch")
    await _fill(kafka, topic)
    mapping = await asyncio.to_thread(
        lambda: functions.client.create_event_source_mapping(
            FunctionName=name,
            EventSourceArn="arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/00000000-0000-0000-0000-000000000000-1",
            Topics=[topic],
            BatchSize=BATCH_SIZE,
            StartingPosition="TRIM_HORIZON",
            AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": topic},
        )
    )
    try:
        async with Progress(kafka, topic, topic) as progress:
            return await _rate_after_first_commit(progress)
    finally:
        await asyncio.to_thread(lambda: functions.client.delete_event_source_mapping(UUID=mapping["UUID"]))


async def _rate_after_first_commit(progress: Progress) -> float:
    # Joining the group and the cold starts are left out: the clock starts with the first commit, its records are not counted.
    first, _ = await progress.wait(1, time.perf_counter())
    if not first:
        raise RuntimeError(f"no record was settled within {SETTLE_TIMEOUT_S:.0f} s")
    started = time.perf_counter()
    done, took_s = await progress.wait(RECORDS, started)
    if done < RECORDS:
        raise RuntimeError(f"{done} of {RECORDS} records were settled within {SETTLE_TIMEOUT_S:.0f} s")
    return (done - first) / took_s


async def _fill(kafka: KafkaCluster, topic: str) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(**client_arguments(kafka), max_batch_size=256 * 1024, acks="all")
    await producer.start()
    try:
        pending: list[Awaitable[object]] = []
        for number in range(RECORDS // RECORDS_A_BATCH):
            batch = producer.create_batch()
            for _ in range(RECORDS_A_BATCH):
                if batch.append(key=None, value=RECORD, timestamp=None) is None:
                    raise RuntimeError("a batch of records is larger than the producer allows")
            pending.append(await producer.send_batch(batch, topic, partition=number % PARTITIONS))
            if len(pending) >= 16:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)
    finally:
        await producer.stop()
