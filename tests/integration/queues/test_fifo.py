"""FIFO queues: in a group one after the other, groups beside each other, and nothing twice."""

from __future__ import annotations

import pytest

from shared.queues.errors import DeduplicationIdMissingError
from shared.queues.records import Message, QueueSettings, Sent
from tests.integration.queues.conftest import World


def message(body: str, group: str = "g", deduplication_id: str | None = None) -> Message:
    return Message(body.encode(), group_id=group, deduplication_id=deduplication_id)


async def test_a_message_tells_its_group_deduplication_id_and_sequence_number(world: World) -> None:
    queue = world.make(fifo=True)
    sent = await world.queues.send(queue, [message("a", "g", "1"), message("b", "h", "2")])
    received = await world.receive(queue)
    assert [each.sequence_number for each in received] == [each.sequence_number for each in sent if isinstance(each, Sent)]
    assert all(each.sequence_number is not None and len(each.sequence_number) == 20 for each in received)
    assert received[0].sequence_number < received[1].sequence_number  # type: ignore[operator]
    assert [(each.group_id, each.deduplication_id) for each in received] == [("g", "1"), ("h", "2")]


async def test_a_group_waits_while_its_first_message_is_in_flight_and_other_groups_do_not(world: World) -> None:
    queue = world.make(fifo=True)
    for body, group in (("1a", "1"), ("1b", "1"), ("2a", "2"), ("2b", "2"), ("3a", "3"), ("3b", "3")):
        await world.send(queue, body, group=group)
    seen = [await world.bodies(queue, 1) for _ in range(4)]
    assert seen == [["1a"], ["2a"], ["3a"], []]


async def test_one_receive_takes_as_many_of_a_group_as_it_may_and_goes_on_to_the_next(world: World) -> None:
    queue = world.make(fifo=True)
    await world.send(queue, "a1", "a2", group="a")
    await world.send(queue, "b1", "b2", "b3", group="b")
    assert await world.bodies(queue, 4) == ["a1", "a2", "b1", "b2"]
    assert await world.bodies(queue, 4) == []


async def test_a_group_goes_on_when_all_that_was_received_of_it_is_deleted(world: World) -> None:
    queue = world.make(fifo=True)
    await world.send(queue, "a", "b", "c")
    first, second = await world.receive(queue, 2)
    assert await world.queues.delete(queue, [first.receipt_handle]) == ["done"]
    assert await world.bodies(queue) == []
    assert await world.queues.delete(queue, [second.receipt_handle]) == ["done"]
    assert await world.bodies(queue) == ["c"]


async def test_messages_that_become_visible_again_come_first_and_in_their_order(world: World) -> None:
    queue = world.make(fifo=True, visibility_s=30)
    await world.send(queue, "a", "b", "c")
    first, second = await world.receive(queue, 2)
    assert await world.queues.change_visibility(queue, [(first.receipt_handle, 0)]) == ["done"]
    assert await world.bodies(queue) == ["a"]
    assert await world.bodies(queue) == []
    world.pass_s(30)
    assert await world.bodies(queue) == ["a", "b", "c"]
    assert await world.queues.delete(queue, [second.receipt_handle]) == ["expired"]


async def test_a_handle_whose_time_is_over_neither_deletes_nor_extends(world: World) -> None:
    queue = world.make(fifo=True, visibility_s=1)
    await world.send(queue, "m")
    [received] = await world.receive(queue)
    assert await world.queues.change_visibility(queue, [(received.receipt_handle, 5)]) == ["done"]
    world.pass_s(5)
    assert await world.queues.delete(queue, [received.receipt_handle]) == ["expired"]
    assert await world.queues.change_visibility(queue, [(received.receipt_handle, 5)]) == ["expired"]
    assert await world.bodies(queue) == ["m"]


async def test_an_emptied_group_works_again(world: World) -> None:
    queue = world.make(fifo=True)
    for body in ("1", "2"):
        await world.send(queue, body)
        [received] = await world.receive(queue)
        assert received.body == body.encode()
        await world.queues.delete(queue, [received.receipt_handle])
        assert await world.receive(queue) == []


async def test_a_new_message_does_not_open_a_group_whose_first_is_in_flight(world: World) -> None:
    queue = world.make(fifo=True)
    await world.send(queue, "a")
    await world.receive(queue)
    await world.send(queue, "b")
    assert await world.receive(queue) == []


@pytest.mark.parametrize("by_content", [False, True])
async def test_a_duplicate_within_five_minutes_is_accepted_and_never_comes(world: World, by_content: bool) -> None:
    queue = world.make(fifo=True, content_based_deduplication=by_content)
    one = message("same", "g", None if by_content else "1")
    other_group = message("same", "h", None if by_content else "1")
    [first] = await world.queues.send(queue, [one])
    [received] = await world.receive(queue)
    await world.queues.delete(queue, [received.receipt_handle])
    assert await world.queues.send(queue, [one, other_group]) == [first, first]
    assert await world.receive(queue) == []
    world.pass_s(299.999)
    assert await world.queues.send(queue, [one]) == [first]
    world.pass_s(0.001)
    [again] = await world.queues.send(queue, [one])
    assert again != first
    assert await world.bodies(queue) == ["same"]


async def test_by_group_an_id_is_a_duplicate_in_its_group_alone_and_not_under_another_scope(world: World) -> None:
    queue = world.make(fifo=True, deduplicate_by_group=True)
    await world.queues.send(queue, [message("1", "a", "x"), message("2", "b", "x"), message("3", "b", "x")])
    assert await world.bodies(queue) == ["1", "2"]
    await world.queues.install(queue, QueueSettings(2))
    await world.queues.send(queue, [message("4", "c", "x")])
    assert await world.bodies(queue) == ["4"]


async def test_a_message_without_an_id_is_refused_with_all_that_came_with_it(world: World) -> None:
    queue = world.make(fifo=True)
    with pytest.raises(DeduplicationIdMissingError):
        await world.queues.send(queue, [message("a", "g", "1"), message("b", "g")])
    assert await world.counts(queue) == (0, 0, 0)


async def test_an_explicit_id_goes_before_the_content(world: World) -> None:
    queue = world.make(fifo=True, content_based_deduplication=True)
    await world.queues.send(queue, [message("same", "g", "1"), message("same", "g", "2"), message("same", "g")])
    received = await world.receive(queue)
    hashed = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"
    assert [each.deduplication_id for each in received] == ["1", "2", hashed]


async def test_the_delay_of_the_queue_holds_for_all_messages_and_a_change_for_those_that_wait_too(world: World) -> None:
    queue = world.make(fifo=True, delay_s=10)
    await world.send(queue, "a")
    world.pass_s(5)
    await world.send(queue, "b")
    assert await world.counts(queue) == (0, 0, 2)
    world.pass_s(5)
    assert await world.counts(queue) == (1, 0, 1)
    assert await world.bodies(queue) == ["a"]
    await world.send(queue, "c", group="h")
    await world.queues.install(queue, QueueSettings(2, delay_s=0))
    assert await world.bodies(queue) == ["c"]


async def test_the_same_receive_attempt_gets_the_same_messages_and_handles_and_their_time_anew(world: World) -> None:
    queue = world.make(fifo=True, visibility_s=30)
    await world.send(queue, "a", "b", "c")
    first = await world.receive(queue, 2, attempt_id="try")
    world.pass_s(20)
    assert await world.receive(queue, 2, attempt_id="another") == []
    assert await world.receive(queue, 2, attempt_id="try") == first
    world.pass_s(20)
    assert await world.receive(queue, 2) == []
    await world.queues.delete(queue, [each.receipt_handle for each in first])
    assert await world.bodies(queue, 2, attempt_id="try") == ["c"]


async def test_messages_leave_when_they_are_too_old_and_free_their_group(world: World) -> None:
    queue = world.make(fifo=True, retention_s=60, visibility_s=3_600)
    await world.send(queue, "old")
    await world.receive(queue)
    world.pass_s(1)
    await world.send(queue, "younger")
    world.pass_s(59.5)
    assert await world.bodies(queue) == ["younger"]
    assert await world.counts(queue) == (0, 1, 0)


async def test_a_purge_frees_groups_and_ids(world: World) -> None:
    queue = world.make(fifo=True)
    await world.send(queue, "a")
    await world.receive(queue)
    await world.queues.purge(queue)
    await world.send(queue, "a")
    assert await world.bodies(queue) == ["a"]


async def test_what_somebody_else_deletes_from_the_stream_does_not_hold_up_its_group(world: World) -> None:
    queue = world.make(fifo=True)
    await world.send(queue, "a", "b")
    [(first, _), _] = await world.redis.xrange(world.stream(queue))
    await world.redis.xdel(world.stream(queue), first)
    assert await world.bodies(queue) == ["b"]


async def test_a_clock_that_is_set_back_holds_no_group_up(world: World) -> None:
    queue = world.make(fifo=True)
    await world.send(queue, "a", "b")
    world.pass_s(-3_600)
    assert await world.bodies(queue) == ["a", "b"]
