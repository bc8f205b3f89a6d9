"""A gigabyte of log, and a line of 100 MB, written to their ends by one call: what becomes of the function, its log, and others."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import threading
import time
from typing import Any

import boto3
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from botocore.config import Config

from services.worker.telemetry.log_rates import SAVED_S
from services.worker.telemetry.log_stream import DROPPED_BYTES, STREAM_BYTES_MAX
from shared.events.kafka import client_arguments
from shared.events.log_records import LogBatch, decode_log_batch
from shared.settings import WorkerSettings
from tests.chaos.census import read_metrics
from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.security.victims import WORKER_BYTES_MAX, Victim, Worker

LINES_MB = int(os.environ.get("LOG_MB", "100"))
"""Of lines; LOG_MB=1000 for the whole gigabyte."""
TIMEOUT_S = 300
LAST_WORDS = "the last words\n"
SOURCE = """
import os, time
def handler(event, context):
    began, lines, piece = time.time(), (b"x" * 99 + b"\\n") * 10_000, b"x" * 1_000_000
    written = sum(os.write(1, lines) for _ in range(event["lines_mb"]))
    lines_s, began = time.time() - began, time.time()
    written += sum(os.write(1, piece) for _ in range(100)) + os.write(1, b"\\n")
    line_s = time.time() - began
    written += os.write(1, LAST_WORDS)
    return {"written": written, "lines_s": lines_s, "line_s": line_s}
""".replace("LAST_WORDS", repr(LAST_WORDS.encode()))


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_a_gigabyte_of_log_and_a_line_of_100_mb_are_written_to_the_end_and_hold_up_nobody(
    cluster: Cluster, make_function: MakeFunction, victim: Victim, worker: Worker
) -> None:
    function = make_function(SOURCE, MemorySize=1_769, Timeout=TIMEOUT_S)
    port = int(cluster.ready("worker-1")["worker-1"]["port"])
    dropped_before = read_metrics(port)[f"{DROPPED_BYTES._name}_total"]
    ends = asyncio.run(_ends(cluster))
    over, replies = threading.Event(), []
    threads = [
        threading.Thread(target=worker.watch, args=(over, worker.process.memory_info().rss), daemon=True),
        threading.Thread(target=lambda: replies.append(_invoke(cluster, function)), daemon=True),
    ]
    worker.grown_bytes, began = 0, time.monotonic()
    for thread in threads:
        thread.start()
    taken_ms = []
    while threads[1].is_alive():
        taken_ms.append(victim.call_ms())
    over.set()
    (reply,) = replies
    assert "FunctionError" not in reply, reply
    answer = json.loads(reply["Payload"].read())
    batches = asyncio.run(_read_log(cluster, ends, function))
    took_s = time.monotonic() - began

    messages = [event.message for batch in batches for event in batch.events]
    kept = sum(map(len, (each for each in messages if each.strip("x\n") == "" or each == LAST_WORDS)))
    dropped = [batch.dropped.bytes for batch in batches if batch.dropped is not None]
    sys.stderr.write(
        f"{answer}, kept {kept}, dropped {sum(dropped)} in {len(dropped)} losses, worker +{worker.grown_bytes >> 20} MiB, "
        f"{len(taken_ms)} calls of another, the slowest {max(taken_ms):.0f} ms\n"
    )
    # All of it was written, and what is not in the log is told of there, but for the platform's own first lines.
    assert answer["written"] == LINES_MB * 1_000_000 + 100_000_001 + len(LAST_WORDS)
    assert answer["written"] <= kept + sum(dropped) <= answer["written"] + 1_024
    told = [int(found[1]) for each in messages if (found := re.match(r"LOGS_DROPPED Dropped Bytes: (\d+)\t", each))]
    assert told == dropped
    assert sum(told) >= answer["written"] / 2
    assert read_metrics(port)[f"{DROPPED_BYTES._name}_total"] - dropped_before >= sum(dropped)
    assert kept <= WorkerSettings().log_bytes_a_second_max * (took_s + SAVED_S) + STREAM_BYTES_MAX
    # How it ended is there, in the log and for the caller.
    assert LAST_WORDS in messages
    assert LAST_WORDS in base64.b64decode(reply["LogResult"]).decode()
    assert messages[-1].startswith("REPORT RequestId: ")
    assert worker.grown_bytes <= WORKER_BYTES_MAX
    assert len(taken_ms) >= 100


def _invoke(cluster: Cluster, function: str) -> Any:
    client = boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=TIMEOUT_S + 30),
    )
    return client.invoke(FunctionName=function, LogType="Tail", Payload=json.dumps({"lines_mb": LINES_MB}))


def _consumer(cluster: Cluster) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(**client_arguments(cluster.kafka))


async def _partitions(consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    await consumer.start()
    found = await consumer._client.fetch_all_metadata()
    return [TopicPartition("lambdad.logs", number) for number in sorted(found.partitions_for_topic("lambdad.logs"))]


async def _ends(cluster: Cluster) -> dict[TopicPartition, int]:
    consumer = _consumer(cluster)
    try:
        return dict(await consumer.end_offsets(await _partitions(consumer)))
    finally:
        await consumer.stop()


async def _read_log(cluster: Cluster, ends: dict[TopicPartition, int], function: str) -> list[LogBatch]:
    """What came since, until its REPORT line."""
    consumer, found = _consumer(cluster), []
    await consumer.start()
    try:
        consumer.assign(list(ends))
        for partition, offset in ends.items():
            consumer.seek(partition, offset)
        async with asyncio.timeout(60):
            while True:
                batch = decode_log_batch((await consumer.getone()).value)
                if batch.function_name == function:
                    found.append(batch)
                    if batch.events[-1].message.startswith("REPORT "):
                        return found
    finally:
        await consumer.stop()
