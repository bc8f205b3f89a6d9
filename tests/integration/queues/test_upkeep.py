"""Queues that nobody uses: nothing stays in them for longer than it should."""

from __future__ import annotations

from shared.queues.keys import QUEUES
from shared.queues.records import Message
from shared.queues.upkeep import sweep
from tests.integration.queues.conftest import World


async def test_what_is_too_old_leaves_and_what_is_due_comes_though_nobody_asks(world: World) -> None:
    standard, fifo, delayed = world.make(retention_s=60), world.make(fifo=True, retention_s=60), world.make()
    for queue in (standard, fifo):
        await world.send(queue, "m")
    await world.queues.send(delayed, [Message(b"m", delay_s=10)])
    world.pass_s(61)
    await sweep(world.queues)
    assert [await world.redis.xlen(world.stream(queue)) for queue in (standard, fifo, delayed)] == [0, 0, 1]


async def test_what_is_kept_for_a_queue_that_nobody_makes_goes_after_two_weeks_and_is_forgotten(world: World) -> None:
    queue = world.make()
    del world.kept[queue]
    await world.queues.keep(queue, [Message(b"m")])
    world.pass_s(14 * 86_400)
    await sweep(world.queues)
    assert await world.redis.xlen(world.stream(queue)) == 1
    world.pass_s(1)
    for _ in range(2):
        await sweep(world.queues)
    assert not await world.redis.sismember(QUEUES, world.stream(queue))


async def test_more_queues_than_one_look_takes_are_all_swept(world: World) -> None:
    queues = [world.make(retention_s=60) for _ in range(500)]
    for queue in queues:
        await world.send(queue, "m")
    world.pass_s(61)
    await sweep(world.queues)
    assert sum([await world.redis.xlen(world.stream(queue)) for queue in queues]) == 0


async def test_queues_that_were_deleted_are_forgotten(world: World) -> None:
    queue = world.make()
    await world.send(queue, "m")
    await world.queues.remove(queue, 2)
    await sweep(world.queues)
    assert await world.redis.scard(QUEUES) == 0


async def test_what_must_not_be_sent_twice_is_forgotten_when_it_may_be(world: World) -> None:
    standard, fifo = world.make(), world.make(fifo=True)
    for queue in (standard, fifo):
        await world.queues.send(
            queue, [Message(b"m", delivery_id=str(n), group_id="g", deduplication_id=str(n)) for n in range(50)]
        )
    world.pass_s(901)
    await sweep(world.queues)
    keys = [f"{{{world.stream(queue)}}}:{what}" for queue in (standard, fifo) for what in ("sent", "sent-ids")]
    assert await world.redis.exists(*keys) == 0
