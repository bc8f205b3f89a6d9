"""A member of a group whose process was killed keeps its partitions from nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator

from shared.events.departed import named
from shared.events.group import GroupReader, ReaderOptions
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import make_topic, until
from tests.support import PATIENCE_S, mortal

SESSION_TIMEOUT_MS = 600_000
"""Longer than any test waits: what Kafka itself makes of a process that is gone comes later than that."""
MEMBER = """
import asyncio, os, sys
from shared.events import group
from shared.settings.kafka import KafkaCluster

async def read(topic, name):
    group.SESSION_TIMEOUT_MS = int(sys.argv[3])
    options = group.ReaderOptions(cluster=KafkaCluster.of_variables(os.environ), group_id=name, client_id="killed")
    async with group.GroupReader([topic], options) as reader:
        while True:
            await reader.fetch(wait_s=0.1)
            if len(reader.assignment()) == int(sys.argv[4]):
                print("has its place", flush=True)

asyncio.run(read(sys.argv[1], sys.argv[2]))
"""


@contextlib.asynccontextmanager
async def member(kafka: KafkaCluster, topic: str, group: str, partitions: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has its place in the group. partitions: how many of them that is."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MEMBER, topic, group, str(SESSION_TIMEOUT_MS), str(partitions)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **kafka.variables()},
        preexec_fn=mortal(),
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await process.stdout.readline() == b"has its place\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_who_comes_next_takes_a_killed_process_out_of_the_group(kafka_engine: KafkaCluster) -> None:
    topic, group = await make_topic(kafka_engine, 2), f"group-{uuid.uuid4().hex[:8]}"
    options = ReaderOptions(cluster=kafka_engine, group_id=group, client_id=named("next"))
    async with member(kafka_engine, topic, group, 2) as killed:
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
    async with GroupReader([topic], options) as reader:
        await until(reader.assignment)
        assert len(reader.assignment()) == 2
