"""Queues fill Redis up to what is not theirs."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from shared.queues.errors import QueueUnavailableError
from shared.queues.records import QueueId
from tests.integration.queues.conftest import World
from tests.support import PATIENCE_S


async def test_what_fills_redis_is_refused_before_leases_are_and_goes_on_when_there_is_room(world: World) -> None:
    queue = world.make()
    world.queues._room._share = 0.8
    await world.send(queue, "m")
    used = int((await world.redis.info("memory"))["used_memory"])
    try:
        await world.redis.config_set("maxmemory", int(used * 1.1))
        with pytest.raises(QueueUnavailableError, match="have filled"):
            await refused(world, queue)
        [received] = await world.receive(queue, 1)
        await world.queues.delete(queue, [received.receipt_handle])
        await world.redis.config_set("maxmemory", 4 * used)
        await taken(world, queue)
    finally:
        await world.redis.config_set("maxmemory", 0)


async def refused(world: World, queue: QueueId) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await world.send(queue, "m")
            await asyncio.sleep(0.05)


async def taken(world: World, queue: QueueId) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(QueueUnavailableError):
                return await world.send(queue, "m")
            await asyncio.sleep(0.05)
