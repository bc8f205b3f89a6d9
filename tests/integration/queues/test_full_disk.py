"""The disk that Redis writes its append-only file to is full: nothing that could not be kept is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from shared.queues import Queues
from shared.queues.errors import QueueUnavailableError
from shared.queues.records import Message, QueueId
from tests.integration.queues.conftest import World
from tests.integration.redis_process import RedisProcess
from tests.support import PATIENCE_S

BYTES_LEFT = 4_000
SENT_MAX = 100
"""Far more than fit into BYTES_LEFT."""


@pytest.fixture
def server(redis_process: RedisProcess, tmp_path: Path) -> RedisProcess:
    """A Redis of the test's own, which the test starts."""
    return RedisProcess(redis_process.program, tmp_path)


@pytest.fixture
async def world(server: RedisProcess) -> AsyncIterator[World]:
    async with Redis.from_url(server.url) as redis:
        world = World(server.url, redis)
        yield world
        await world.close()
        server.kill()


async def sent(queues: Queues, queue: QueueId, number: int) -> bool:
    try:
        await queues.send(queue, [Message(b"%d" % number)])
    except QueueUnavailableError:
        return False
    return True


async def fill(queues: Queues, queue: QueueId) -> list[bytes]:
    """-> bodies that were acknowledged, until one was not."""
    for number in range(SENT_MAX):
        if not await sent(queues, queue, number):
            return [b"%d" % before for before in range(number)]
    raise AssertionError(f"all of {SENT_MAX} messages were taken")


async def kept(queues: Queues, queue: QueueId) -> list[bytes]:
    bodies: list[bytes] = []
    while messages := await queues.receive(queue, count_max=10, visibility_s=60, wait_s=0):
        bodies += [message.body for message in messages]
    return bodies


async def until_sent(queues: Queues, queue: QueueId, number: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await sent(queues, queue, number):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_message_that_cannot_be_kept_is_refused_and_those_before_it_stay(world: World, server: RedisProcess) -> None:
    server.start(fsync="no")
    queues, queue = await world.another(clock=False), world.make()
    await until_sent(queues, queue, -1)
    server.fill_disk(BYTES_LEFT)
    acknowledged = await fill(queues, queue)
    assert [await sent(queues, queue, number) for number in range(SENT_MAX, SENT_MAX + 20)] == [False] * 20
    server.make_room()
    await until_sent(queues, queue, 2 * SENT_MAX)
    server.kill()
    server.start(fsync="no")
    await until_sent(queues, queue, 3 * SENT_MAX)
    assert await kept(queues, queue) == [b"-1", *acknowledged, b"%d" % (2 * SENT_MAX), b"%d" % (3 * SENT_MAX)]


async def test_with_always_a_redis_whose_disk_is_full_ends_before_it_answers(world: World, server: RedisProcess) -> None:
    server.start(fsync="always")
    queues, queue = await world.another(clock=False), world.make()
    await until_sent(queues, queue, -1)
    server.fill_disk(BYTES_LEFT)
    acknowledged = await fill(queues, queue)
    server.kill()
    server.start(fsync="always")
    await until_sent(queues, queue, 2 * SENT_MAX)
    assert await kept(queues, queue) == [b"-1", *acknowledged, b"%d" % (2 * SENT_MAX)]
