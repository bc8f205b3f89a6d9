"""Long polling: who waits is woken by a message, by the end of another's time and by nothing else."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from shared.queues import Queues
from shared.queues.records import DeadLetters, Message, QueueId, Received
from tests.integration.queues.conftest import World
from tests.integration.redis_process import RedisProcess
from tests.support import PATIENCE_S


@pytest.fixture
async def here(world: World) -> Queues:
    return await world.another(clock=False)


@pytest.fixture
async def there(world: World) -> Queues:
    return await world.another(clock=False)


async def waiting(world: World, queue: QueueId) -> None:
    """Returns once Redis knows that somebody waits."""
    async with asyncio.timeout(PATIENCE_S):
        while not await world.redis.hget(f"{{{world.stream(queue)}}}:state", "waiting"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def receive(
    queues: Queues, queue: QueueId, wait_s: float | None = 2 * PATIENCE_S, count_max: int = 10
) -> asyncio.Task[list[Received]]:
    return asyncio.create_task(queues.receive(queue, count_max=count_max, wait_s=wait_s))


async def bodies(task: asyncio.Task[list[Received]]) -> list[bytes]:
    async with asyncio.timeout(PATIENCE_S):
        return [message.body for message in await task]


async def test_a_message_from_another_process_wakes_who_waits(world: World, here: Queues, there: Queues) -> None:
    queue = world.make()
    task = receive(here, queue)
    await waiting(world, queue)
    await there.send(queue, [Message(b"m")])
    assert await bodies(task) == [b"m"]


async def test_the_wait_of_the_queue_holds_where_none_is_said(world: World, here: Queues, there: Queues) -> None:
    queue = world.make(wait_s=20)
    task = receive(here, queue, wait_s=None)
    await waiting(world, queue)
    await there.send(queue, [Message(b"m")])
    assert await bodies(task) == [b"m"]
    assert await bodies(receive(here, world.make(), wait_s=None)) == []


async def test_nothing_comes_of_a_wait_that_is_over_and_redis_is_asked_at_its_ends_alone(world: World, here: Queues) -> None:
    loop, queue = asyncio.get_running_loop(), world.make()
    await here.count(queue)
    await world.redis.config_resetstat()
    began = loop.time()
    assert await bodies(receive(here, queue, wait_s=0.3)) == []
    assert loop.time() - began >= 0.3
    asked = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert asked == 2


async def test_thousands_wait_on_thousands_of_queues(world: World, here: Queues, there: Queues) -> None:
    queues = [world.make() for _ in range(2_000)]
    tasks = [receive(here, queue) for queue in queues]
    for queue in queues:
        await waiting(world, queue)
    async with asyncio.TaskGroup() as group:
        for queue in queues:
            group.create_task(there.send(queue, [Message(queue.name.encode())]))
    assert [await bodies(task) for task in tasks] == [[queue.name.encode()] for queue in queues]


async def test_each_of_many_that_wait_gets_its_message(world: World, here: Queues, there: Queues) -> None:
    queues = [world.make() for _ in range(50)]
    tasks = [receive(here if number % 2 else there, queue) for queue in queues for number in range(4)]
    for queue in queues:
        await waiting(world, queue)
    for _ in range(4):
        for queue in queues:
            await here.send(queue, [Message(b"m")])
            # Each takes all there is: the next is sent when this one was taken.
            async with asyncio.timeout(PATIENCE_S):
                while (await here.count(queue)).visible:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
    assert [await bodies(task) for task in tasks] == [[b"m"]] * 200


async def test_messages_whose_time_is_over_wake_one_after_another_who_waits(world: World, here: Queues) -> None:
    queue = world.make()
    await here.send(queue, [Message(b"1"), Message(b"2")])
    first, second = await here.receive(queue, count_max=2)
    await here.change_visibility(queue, [(first.receipt_handle, 1), (second.receipt_handle, 2)])
    tasks = [receive(here, queue, count_max=1) for _ in range(2)]
    done, _ = await asyncio.wait(tasks, timeout=PATIENCE_S)
    assert sorted([message.body for task in done for message in task.result()]) == [b"1", b"2"]


async def test_a_time_that_another_process_set_while_one_waits_wakes(world: World, here: Queues, there: Queues) -> None:
    queue = world.make(visibility_s=600)
    await there.send(queue, [Message(b"m")])
    [message] = await there.receive(queue, wait_s=0)
    task = receive(here, queue)
    await waiting(world, queue)
    await there.change_visibility(queue, [(message.receipt_handle, 1)])
    assert await bodies(task) == [b"m"]


async def test_delayed_messages_wake_when_they_are_due(world: World, here: Queues, there: Queues) -> None:
    for queue in (world.make(), world.make(fifo=True, delay_s=1)):
        task = receive(here, queue)
        await waiting(world, queue)
        await there.send(queue, [Message(b"m", group_id="g", deduplication_id="1", delay_s=1)])
        assert await bodies(task) == [b"m"]


async def test_deleting_the_first_of_a_group_wakes_who_waits_for_the_next(world: World, here: Queues, there: Queues) -> None:
    queue = world.make(fifo=True)
    await there.send(queue, [Message(b.encode(), group_id="g", deduplication_id=b) for b in "12"])
    [first] = await there.receive(queue)
    task = receive(here, queue)
    await waiting(world, queue)
    await there.delete(queue, [first.receipt_handle])
    assert await bodies(task) == [b"2"]


async def test_a_turn_that_is_not_taken_is_another_s(world: World, here: Queues, there: Queues) -> None:
    queue = world.make()
    gone, stays = receive(here, queue), receive(here, queue)
    await waiting(world, queue)
    # It is woken and cancelled in the same turn of the loop: it never asks.
    here._waiting.wake(world.stream(queue), 1)
    gone.cancel()
    await there.send(queue, [Message(b"m")])
    assert await bodies(stays) == [b"m"]
    assert here._waiting._count == 0


async def test_who_waits_when_the_connection_breaks_asks_again(world: World, here: Queues) -> None:
    queue = world.make()
    task = receive(here, queue)
    await waiting(world, queue)
    async with world.redis.pipeline() as at_once:
        # Nothing is published of what others write: it is found because it is looked for.
        await at_once.xadd(world.stream(queue), {"body": "m"}).client_kill_filter(_type="pubsub").execute()
    assert await bodies(task) == [b"m"]


async def test_nothing_is_left_of_who_waited(world: World, here: Queues) -> None:
    queue = world.make()
    await bodies(receive(here, queue, wait_s=0.05))
    task = receive(here, queue)
    await waiting(world, queue)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (here._waiting._count, here._waiting._lines) == (0, {})


@pytest.fixture(autouse=True)
async def _nothing_waits_for_ever(redis_process: RedisProcess) -> AsyncIterator[None]:
    async with asyncio.timeout(3 * PATIENCE_S):
        yield


@pytest.mark.parametrize("fifo", [False, True])
async def test_who_is_cancelled_at_any_moment_of_a_receive_takes_nothing(world: World, here: Queues, fifo: bool) -> None:
    """One turn of the event loop later each time, until the receive is over before: no moment between is left out."""
    queue = world.make(fifo=fifo, visibility_s=600, dead_letters=DeadLetters(world.make(fifo=fifo), 1))
    await here.send(queue, [Message(body, group_id="g", deduplication_id=body.decode()) for body in (b"1", b"2")])
    for turns in itertools.count():
        task = receive(here, queue)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            messages = await task
        except asyncio.CancelledError:
            await asyncio.gather(*here._given_back._tasks)
            counts = await here.count(queue)
            assert (counts.visible, counts.in_flight) == (2, 0), turns
        else:
            break
    assert turns > 2
    assert [(message.body, message.receive_count) for message in messages] == [(b"1", 1), (b"2", 1)]


async def test_a_receive_that_was_taken_back_is_no_receive_and_wakes_who_waits(
    world: World, here: Queues, there: Queues
) -> None:
    for fifo in (False, True):
        queue = world.make(fifo=fifo, visibility_s=600)
        await here.send(queue, [Message(b"m", group_id="g", deduplication_id="m")])
        [first] = await here.receive(queue, visibility_s=0)
        [second] = await here.receive(queue)
        assert (first.receive_count, second.receive_count) == (1, 2)
        task = receive(there, queue)
        await waiting(world, queue)
        await here.release(queue, [first.receipt_handle, second.receipt_handle])
        async with asyncio.timeout(PATIENCE_S):
            [third] = await task
        assert (third.receive_count, third.first_received_at_ms) == (2, first.first_received_at_ms)
