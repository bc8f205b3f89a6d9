"""Move tasks: what was in a dead-letter queue is where it came from, or where it was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from shared.queues import Queues
from shared.queues.errors import MoveTaskMissingError, MoveTaskRunningError
from shared.queues.moves import LEASE_MS, MOVING, MoveTasks
from shared.queues.records import DeadLetters, MoveTask, QueueId
from tests.integration.queues.conftest import World
from tests.support import PATIENCE_S


@contextlib.asynccontextmanager
async def running(moves: MoveTasks) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(moves.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@pytest.fixture
async def queues(world: World) -> Queues:
    world.queues, _ = await world.another(clock=False), await world.queues.close()
    return world.queues


async def ended(moves: MoveTasks, source: QueueId) -> MoveTask:
    async with asyncio.timeout(PATIENCE_S):
        while (task := (await moves.tasks(source))[0]).status in ("RUNNING", "CANCELLING"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return task


async def bury(world: World, queue: QueueId, *bodies: str) -> None:
    await world.send(queue, *bodies)
    for _ in range(2):
        await world.receive(queue, visibility_s=0)


async def test_messages_go_back_to_the_queues_that_they_came_from(world: World, queues: Queues) -> None:
    letters = world.make()
    sources = [world.make(dead_letters=DeadLetters(letters, 1)) for _ in range(2)]
    for number, source in enumerate(sources):
        await bury(world, source, f"{number}a", f"{number}b")
    moves = MoveTasks(queues)
    async with running(moves):
        started = await moves.start(letters, None)
        task = await ended(moves, letters)
    assert (task.task_id, task.status, task.moved, task.to_move, task.failure) == (started.task_id, "COMPLETED", 4, 4, None)
    for number, source in enumerate(sources):
        received = await world.receive(source)
        assert [message.body.decode() for message in received] == [f"{number}a", f"{number}b"]
        assert [(message.receive_count, message.source_arn) for message in received] == [(1, None)] * 2
    assert await world.counts(letters) == (0, 0, 0)


async def test_messages_go_where_they_are_sent_and_none_is_taken_for_a_duplicate(world: World, queues: Queues) -> None:
    letters, elsewhere = world.make(fifo=True), world.make(fifo=True)
    source = world.make(fifo=True, dead_letters=DeadLetters(letters, 1))
    await world.send(elsewhere, "1")
    await bury(world, source, "1", "2")
    assert await world.counts(letters) == (2, 0, 0)
    moves = MoveTasks(queues)
    async with running(moves):
        await moves.start(letters, elsewhere)
        assert (await ended(moves, letters)).moved == 2
    assert await world.bodies(elsewhere) == ["1", "1", "2"]


async def test_a_task_keeps_to_its_rate_and_can_be_cancelled(world: World, queues: Queues) -> None:
    letters, elsewhere = world.make(), world.make()
    await world.send(letters, *map(str, range(10)))
    moves = MoveTasks(queues)
    async with running(moves):
        task = await moves.start(letters, elsewhere, per_second_max=1)
        with pytest.raises(MoveTaskRunningError):
            await moves.start(letters, elsewhere)
        moved = await moves.cancel(letters, task.task_id)
        after = await ended(moves, letters)
    assert (after.status, after.to_move) == ("CANCELLED", 10)
    assert moved <= after.moved < 10
    assert (await world.counts(letters))[0] == 10 - after.moved
    with pytest.raises(MoveTaskMissingError):
        await moves.cancel(letters, task.task_id)


async def test_a_task_whose_destination_is_gone_fails_and_what_is_left_stays(world: World, queues: Queues) -> None:
    letters, elsewhere = world.make(), world.make()
    await world.send(letters, "a", "b")
    del world.kept[elsewhere]
    moves = MoveTasks(queues)
    async with running(moves):
        await moves.start(letters, elsewhere)
        task = await ended(moves, letters)
    assert (task.status, task.failure, task.moved) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue", 0)
    assert await world.counts(letters) == (2, 0, 0)


async def test_where_it_is_not_known_where_a_message_came_from_the_task_fails(world: World, queues: Queues) -> None:
    letters = world.make()
    await world.send(letters, "sent by hand")
    moves = MoveTasks(queues)
    async with running(moves):
        await moves.start(letters, None)
        task = await ended(moves, letters)
    assert (task.status, task.failure) == ("FAILED", "CouldNotDetermineMessageSource")
    assert await world.counts(letters) == (1, 0, 0)


async def test_another_process_goes_on_with_the_task_of_one_that_is_gone(world: World, queues: Queues) -> None:
    letters, elsewhere = world.make(), world.make()
    await world.send(letters, "m")
    gone, other = MoveTasks(queues), MoveTasks(queues)
    await gone.start(letters, elsewhere)
    # As if it had begun, and ended without a word, one lease ago.
    assert await gone._claim(letters.arn, ours=False)
    async with running(other):
        assert [task.status for task in await other.tasks(letters)] == ["RUNNING"]
        await world.redis.zincrby(MOVING, -LEASE_MS, letters.arn)
        assert (await ended(other, letters)).moved == 1
    assert await world.redis.zcard(MOVING) == 0


async def test_ten_tasks_are_remembered_the_latest_first(world: World, queues: Queues) -> None:
    letters, elsewhere = world.make(), world.make()
    moves, started = MoveTasks(queues), []
    async with running(moves):
        for _ in range(12):
            started.append((await moves.start(letters, elsewhere)).task_id)
            await ended(moves, letters)
    assert [task.task_id for task in await moves.tasks(letters)] == started[:1:-1]
