"""Dead letters: what was received too often goes to the queue that the redrive policy names."""

from __future__ import annotations

from shared.queues.records import Attribute, DeadLetters, Message, QueueId
from tests.integration.queues.conftest import HOME, World


def with_letters(world: World, receives_max: int, *, fifo: bool = False, **settings: object) -> tuple[QueueId, QueueId]:
    target = world.make(fifo=fifo)
    return world.make(fifo=fifo, dead_letters=DeadLetters(target, receives_max), **settings), target


async def test_the_receive_that_would_be_one_too_many_moves_the_message_as_it_is(world: World) -> None:
    queue, target = with_letters(world, 1)
    attributes = {"a": Attribute("String", "b")}
    await world.queues.send(queue, [Message(b"1", attributes, trace_header="Root=1-x"), Message(b"2")])
    seen = [message for _ in range(4) for message in await world.receive(queue, 1, visibility_s=0)]
    assert [message.body for message in seen] == [b"1", b"2"]
    world.pass_s(1)
    moved = await world.receive(target)
    for before, after in zip(seen, moved, strict=True):
        assert (after.message_id, after.body, after.attributes) == (before.message_id, before.body, before.attributes)
        assert (after.trace_header, after.sent_at_ms) == (before.trace_header, before.sent_at_ms)
        assert (after.receive_count, after.first_received_at_ms) == (2, before.first_received_at_ms)
        assert after.source_arn == queue.arn
    assert await world.counts(queue) == (0, 0, 0)


async def test_a_dead_letter_does_not_block_its_group(world: World) -> None:
    queue, target = with_letters(world, 2, fifo=True, visibility_s=60)
    await world.send(queue, "1", "2")
    for _ in range(2):
        assert await world.bodies(queue, 1, visibility_s=0) == ["1"]
    assert await world.bodies(queue) == ["2"]
    [letter] = await world.receive(target)
    assert (letter.body, letter.group_id, letter.source_arn) == (b"1", "g", queue.arn)


async def test_a_dead_letter_is_no_duplicate_of_what_its_queue_was_sent(world: World) -> None:
    queue, target = with_letters(world, 1, fifo=True)
    for to in (queue, target):
        await world.send(to, "same")
    await world.receive(queue, visibility_s=0)
    assert await world.receive(queue) == []
    assert await world.counts(target) == (2, 0, 0)


async def test_what_has_nowhere_to_go_goes_on_being_received(world: World) -> None:
    queue, target = with_letters(world, 1)
    del world.kept[target]
    await world.send(queue, "m")
    for _ in range(3):
        assert await world.bodies(queue) == ["m"]
        world.pass_s(30)


async def test_a_move_that_broke_off_in_between_is_finished_and_moves_once(world: World) -> None:
    queue, target = with_letters(world, 1)
    await world.send(queue, "m")
    await world.receive(queue, visibility_s=0)
    delete, world.queues.delete = world.queues.delete, nothing  # type: ignore[method-assign, assignment]
    assert await world.receive(queue) == []
    world.queues.delete = delete  # type: ignore[method-assign]
    assert await world.counts(queue) == (0, 1, 0)
    world.pass_s(30)
    assert await world.receive(queue) == []
    assert await world.counts(queue) == (0, 0, 0)
    assert await world.counts(target) == (1, 0, 0)


async def test_no_dead_letter_is_too_long_for_its_queue(world: World) -> None:
    target = world.make(message_bytes_max=1_024)
    queue = world.make(dead_letters=DeadLetters(target, 1))
    await world.send(queue, "m" * 2_000)
    await world.receive(queue, visibility_s=0)
    assert await world.receive(queue) == []
    assert await world.bodies(target) == ["m" * 2_000]


async def nothing(*asked: object) -> list[str]:
    return []


async def test_a_dead_letter_is_as_old_as_it_was(world: World) -> None:
    target = world.make(retention_s=100)
    queue = world.make(dead_letters=DeadLetters(target, 1))
    await world.send(queue, "m")
    world.pass_s(90)
    await world.receive(queue, visibility_s=0)
    await world.receive(queue)
    assert await world.counts(target) == (1, 0, 0)
    world.pass_s(11)
    assert await world.counts(target) == (0, 0, 0)


def test_the_arn_of_a_queue_names_it() -> None:
    queue = QueueId(HOME, "name")
    assert QueueId.of_arn(queue.arn) == queue
