"""Redis is killed, or wiped, while queues are in use: what was acknowledged is there, and who goes on finds its queues."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.queues import Queues
from shared.queues.errors import QueueUnavailableError
from shared.queues.records import Message, QueueId, Sent
from tests.integration.queues.conftest import World
from tests.integration.redis_process import RedisProcess
from tests.support import PATIENCE_S

SENDERS = 8
ACKNOWLEDGED_BEFORE_A_KILL = 400
KILLS = 3


@pytest.fixture
async def server(redis_process: RedisProcess, tmp_path: Path) -> AsyncIterator[RedisProcess]:
    """A Redis of the test's own, of the same kind, that writes every change down before it answers."""
    server = RedisProcess(redis_process.program, tmp_path)
    server.start(fsync="no")
    yield server
    server.kill()


@pytest.fixture
async def world(server: RedisProcess) -> AsyncIterator[World]:
    async with Redis.from_url(server.url) as redis:
        world = World(server.url, redis)
        yield world
        await world.close()


class Load:
    """Sends and receives, and remembers what was acknowledged of each message."""

    def __init__(self, queues: Queues, ids: list[QueueId]) -> None:
        self.queues = queues
        self.ids = ids
        self.sent: set[bytes] = set()
        self.received: set[bytes] = set()
        self.deleted: set[bytes] = set()
        self.came_back: list[bytes] = []
        self.stopped = asyncio.Event()
        self._numbers = itertools.count()

    async def send(self, number: int) -> None:
        for queue in itertools.cycle(self.ids[number:] + self.ids[:number]):
            if self.stopped.is_set():
                return
            bodies = [str(next(self._numbers)).encode() for _ in range(10)]
            group = f"g{number}" if queue.is_fifo else None
            messages = [Message(body, group_id=group, deduplication_id=body.decode() if group else None) for body in bodies]
            try:
                results = await self.queues.send(queue, messages)
            except QueueUnavailableError:
                continue
            self.sent.update(body for body, result in zip(bodies, results, strict=True) if isinstance(result, Sent))

    async def receive(self, queue: QueueId) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(QueueUnavailableError):
                await self.take(queue, visibility_s=1)

    async def take(self, queue: QueueId, visibility_s: int) -> None:
        messages = await self.queues.receive(queue, count_max=10, visibility_s=visibility_s, wait_s=0.05)
        bodies = [message.body for message in messages]
        self.received.update(bodies)
        self.came_back += [body for body in bodies if body in self.deleted]
        settled = await self.queues.delete(queue, [message.receipt_handle for message in messages])
        self.deleted.update(body for body, each in zip(bodies, settled, strict=True) if each == "done")

    async def acknowledged(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.sent) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def drained(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for queue in self.ids:
                while (counts := await self.queues.count(queue)).visible or counts.in_flight:
                    await self.take(queue, visibility_s=30)


async def test_what_was_acknowledged_survives_the_death_of_redis(world: World, server: RedisProcess) -> None:
    queues = await world.another(clock=False)
    ids = [world.make(fifo=number % 4 == 0) for number in range(8)]
    load = Load(queues, ids)
    tasks = [asyncio.create_task(load.send(number)) for number in range(SENDERS)]
    tasks += [asyncio.create_task(load.receive(queue)) for queue in ids[:4]]
    for number in range(KILLS):
        await load.acknowledged((number + 1) * ACKNOWLEDGED_BEFORE_A_KILL)
        server.kill()
        server.start(fsync="no")
    await load.acknowledged(len(load.sent) + ACKNOWLEDGED_BEFORE_A_KILL)
    load.stopped.set()
    await asyncio.gather(*tasks)
    await load.drained()
    assert load.sent - load.received == set()
    assert load.came_back == []


async def test_a_wiped_redis_has_lost_its_messages_and_serves_its_queues_at_once(world: World, server: RedisProcess) -> None:
    queues = await world.another(clock=False)
    for queue in (world.make(wait_s=20), world.make(fifo=True, wait_s=20)):
        message = Message(b"m", group_id="g", deduplication_id="1")
        await queues.send(queue, [message])
        [received] = await queues.receive(queue)
        await world.redis.flushall()
        assert await queues.delete(queue, [received.receipt_handle]) == ["done"]
        waiting = asyncio.create_task(queues.receive(queue))
        async with asyncio.timeout(PATIENCE_S):
            while not await world.redis.hget(f"{{{world.stream(queue)}}}:state", "waiting"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await queues.send(queue, [message])
            assert [each.body for each in await waiting] == [b"m"]
    assert world.loads == 4
