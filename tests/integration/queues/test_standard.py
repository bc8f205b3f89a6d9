"""Standard queues: what is sent comes, and what became of it is as SQS says."""

from __future__ import annotations

import uuid

import pytest

from shared.queues.errors import (
    PurgeInProgressError,
    QueueMissingError,
    TooManyInFlightError,
)
from shared.queues.records import Attribute, Message, QueueId, Sent, TooLong
from tests.integration.queues.conftest import HOME, World


async def test_a_message_comes_with_all_that_is_known_of_it(world: World) -> None:
    queue = world.make()
    attributes = {"text": Attribute("String.x", "a"), "bytes": Attribute("Binary", binary_value=b"\x00\xff")}
    message = Message(b"body", attributes, sender_id="AIDA", trace_header="Root=1-x", group_id="fair")
    [sent] = await world.queues.send(queue, [message])
    world.pass_s(1)
    [received] = await world.receive(queue)
    assert isinstance(sent, Sent)
    assert (uuid.UUID(sent.message_id).version, uuid.UUID(sent.message_id).variant) == (4, uuid.RFC_4122)
    assert (received.message_id, received.md5_of_body) == (sent.message_id, sent.md5_of_body)
    assert sent.md5_of_body == "841a2d689ad86bd1611447453c22c6fc"
    assert (received.body, received.attributes, received.sender_id) == (b"body", attributes, "AIDA")
    assert (received.sent_at_ms, received.first_received_at_ms) == (world.now_ms - 1_000, world.now_ms)
    assert (received.receive_count, received.trace_header, received.group_id) == (1, "Root=1-x", "fair")
    assert (received.sequence_number, received.deduplication_id, received.source_arn) == (None, None, None)


async def test_whoever_reads_the_stream_itself_finds_the_fields_first_that_it_always_had(world: World) -> None:
    queue = world.make()
    await world.queues.send(queue, [Message(b"body", {"a": Attribute("String", "b")}, sender_id="x")])
    [(_, fields)] = await world.redis.xrange(f"queue:{queue.name}")
    assert list(fields)[:5] == [b"message_id", b"body", b"attributes", b"md5_of_body", b"sent_at_ms"]
    assert fields[b"attributes"] == b'{"a":{"DataType":"String","StringValue":"b"}}'


async def test_what_others_write_to_and_delete_from_the_stream_counts(world: World) -> None:
    queue = world.make()
    await world.send(queue, "deleted while it is new", "deleted in flight")
    [(first, _), (second, _)] = await world.redis.xrange(world.stream(queue))
    await world.redis.xdel(world.stream(queue), first)
    assert await world.bodies(queue, visibility_s=5) == ["deleted in flight"]
    await world.redis.xdel(world.stream(queue), second)
    await world.redis.xadd(world.stream(queue), {"body": "from elsewhere"}, id=f"{world.now_ms}-*")
    world.pass_s(5)
    [received] = await world.receive(queue)
    assert (received.body, received.sent_at_ms) == (b"from elsewhere", world.now_ms - 5_000)
    assert await world.counts(queue) == (0, 1, 0)
    nonsense = {"body": "m", "attributes": "{no JSON", "sent_at_ms": "yesterday", "receives": "often", "message_id": b"\xff"}
    await world.redis.xadd(world.stream(queue), nonsense, id=f"{world.now_ms}-*")
    [received] = await world.receive(queue)
    assert (received.body, received.attributes, received.sent_at_ms, received.receive_count) == (b"m", {}, world.now_ms, 1)


async def test_a_message_is_invisible_until_its_time_is_over_and_comes_again_under_another_handle(world: World) -> None:
    queue = world.make(visibility_s=30)
    await world.send(queue, "m")
    [first] = await world.receive(queue)
    world.pass_s(29.999)
    assert await world.receive(queue) == []
    world.pass_s(0.001)
    [second] = await world.receive(queue)
    assert (second.message_id, second.receive_count) == (first.message_id, 2)
    assert second.first_received_at_ms == first.first_received_at_ms
    assert second.receipt_handle != first.receipt_handle


async def test_no_more_than_ten_come_at_once_and_each_once(world: World) -> None:
    queue = world.make()
    await world.send(queue, *map(str, range(25)))
    batches = [await world.bodies(queue, 100) for _ in range(4)]
    assert [len(batch) for batch in batches] == [10, 10, 5, 0]
    assert [body for batch in batches for body in batch] == [str(number) for number in range(25)]


async def test_a_message_that_always_fails_does_not_keep_others_waiting(world: World) -> None:
    queue = world.make(visibility_s=0)
    await world.send(queue, "fails")
    world.pass_s(1)
    await world.send(queue, "waits")
    seen = []
    for _ in range(4):
        world.pass_s(1)
        seen += await world.bodies(queue, 1)
    assert seen == ["fails", "waits", "fails", "waits"]


async def test_handles_delete_until_the_message_was_received_again(world: World) -> None:
    queue = world.make(visibility_s=1)
    await world.send(queue, "a", "b")
    old = await world.receive(queue)
    world.pass_s(1)
    [again] = await world.receive(queue, 1)
    assert again.body == b"a"
    handles = [message.receipt_handle for message in old]
    assert await world.queues.delete(queue, [*handles, "nonsense"]) == ["stale", "done", "invalid"]
    assert await world.queues.delete(queue, [again.receipt_handle, again.receipt_handle]) == ["done", "done"]
    assert await world.counts(queue) == (0, 0, 0)


async def test_a_handle_of_one_queue_is_none_of_another(world: World) -> None:
    one, other = world.make(), world.make()
    await world.send(one, "m")
    [received] = await world.receive(one)
    assert await world.queues.delete(other, [received.receipt_handle]) == ["invalid"]
    assert await world.counts(one) == (0, 1, 0)


async def test_visibility_can_be_changed_while_a_message_is_in_flight(world: World) -> None:
    queue = world.make(visibility_s=30)
    await world.send(queue, "m")
    [received] = await world.receive(queue)
    handle = received.receipt_handle
    world.pass_s(20)
    assert await world.queues.change_visibility(queue, [(handle, 60)]) == ["done"]
    world.pass_s(59)
    assert await world.receive(queue) == []
    assert await world.queues.change_visibility(queue, [(handle, 43_200)]) == ["too-far"]
    assert await world.queues.change_visibility(queue, [(handle, 0)]) == ["done"]
    assert await world.queues.change_visibility(queue, [(handle, 10)]) == ["visible"]
    [again] = await world.receive(queue)
    assert await world.queues.change_visibility(queue, [(handle, 0), ("nonsense", 0)]) == ["stale", "invalid"]
    assert await world.queues.delete(queue, [again.receipt_handle]) == ["done"]
    assert await world.queues.change_visibility(queue, [(again.receipt_handle, 1)]) == ["missing"]


async def test_delayed_messages_come_when_they_are_due(world: World) -> None:
    queue = world.make(delay_s=5)
    await world.send(queue, "of the queue")
    await world.queues.send(queue, [Message(b"none", delay_s=0), Message(b"long", delay_s=900)])
    sent_at_ms = world.now_ms
    assert await world.counts(queue) == (1, 0, 2)
    assert await world.bodies(queue) == ["none"]
    world.pass_s(5)
    assert await world.counts(queue) == (1, 1, 1)
    assert await world.bodies(queue) == ["of the queue"]
    world.pass_s(895)
    [received] = [message for message in await world.receive(queue) if message.body == b"long"]
    assert received.sent_at_ms == sent_at_ms


async def test_messages_leave_when_they_are_too_old_whatever_they_are_doing(world: World) -> None:
    queue = world.make(retention_s=60)
    await world.send(queue, "in flight", "waits")
    [received] = await world.receive(queue, 1, visibility_s=3_600)
    world.pass_s(60)
    assert await world.counts(queue) == (1, 1, 0)
    world.pass_s(0.001)
    await world.send(queue, "new")
    assert await world.counts(queue) == (1, 0, 0)
    assert await world.bodies(queue) == ["new"]
    assert await world.queues.delete(queue, [received.receipt_handle]) == ["done"]


async def test_what_is_longer_than_the_queue_takes_is_refused_alone(world: World) -> None:
    queue = world.make(message_bytes_max=1_024)
    long = Message(b"a" * 1_017, {"k": Attribute("String", "x")})
    assert long.size_bytes == 1_025
    refused, sent = await world.queues.send(queue, [long, Message(b"a" * 1_024)])
    assert refused == TooLong(1_024)
    assert isinstance(sent, Sent)
    assert await world.counts(queue) == (1, 0, 0)


async def test_no_more_are_received_than_may_be_in_flight(world: World) -> None:
    queue = world.make(in_flight_max=3)
    await world.send(queue, *"abcde")
    assert await world.bodies(queue) == ["a", "b", "c"]
    with pytest.raises(TooManyInFlightError):
        await world.receive(queue)
    world.pass_s(30)
    assert await world.bodies(queue) == ["d", "e", "a"]


async def test_a_purge_takes_everything_once_a_minute(world: World) -> None:
    queue = world.make()
    await world.send(queue, "in flight", "visible")
    await world.queues.send(queue, [Message(b"delayed", delay_s=10)])
    [received] = await world.receive(queue, 1)
    await world.queues.purge(queue)
    assert await world.counts(queue) == (0, 0, 0)
    world.pass_s(59.999)
    with pytest.raises(PurgeInProgressError):
        await world.queues.purge(queue)
    await world.send(queue, "later")
    assert await world.queues.delete(queue, [received.receipt_handle]) == ["done"]
    assert await world.bodies(queue) == ["later"]
    world.pass_s(0.001)
    await world.queues.purge(queue)


async def test_a_delivery_that_is_tried_again_within_fifteen_minutes_is_there_once(world: World) -> None:
    queue = world.make()
    message = Message(b"m", delivery_id="one")
    [first], [second] = await world.queues.send(queue, [message]), await world.queues.send(queue, [message])
    assert first == second
    world.pass_s(900)
    assert await world.counts(queue) == (1, 0, 0)
    await world.queues.send(queue, [message])
    assert await world.counts(queue) == (2, 0, 0)


async def test_settings_are_loaded_once_and_a_change_holds_at_once(world: World) -> None:
    queue = world.make(visibility_s=1)
    await world.send(queue, "m")
    await world.receive(queue)
    assert world.loads == 1
    world.kept[queue] = type(world.kept[queue])(2, visibility_s=60)
    await world.queues.install(queue, world.kept[queue])
    await world.queues.install(queue, type(world.kept[queue])(1, visibility_s=1))
    world.pass_s(1)
    assert await world.bodies(queue) == ["m"]
    world.pass_s(59)
    assert await world.bodies(queue) == []
    assert (await world.queues.count(queue)).revision == 2


async def test_a_queue_that_does_not_exist_is_told(world: World) -> None:
    queue = QueueId(HOME, "nowhere")
    for attempt in (
        world.send(queue, "m"),
        world.receive(queue),
        world.counts(queue),
        world.queues.purge(queue),
        world.queues.delete(queue, ["x"]),
        world.queues.change_visibility(queue, []),
    ):
        with pytest.raises(QueueMissingError):
            await attempt


async def test_who_knew_a_queue_before_it_was_deleted_cannot_bring_it_back(world: World) -> None:
    queue = world.make()
    await world.send(queue, "m")
    await world.queues.remove(queue, revision=5)
    with pytest.raises(QueueMissingError):
        await world.send(queue, "m")
    assert not await world.queues.install(queue, type(world.kept[queue])(5))
    assert await world.queues.install(queue, type(world.kept[queue])(6))
    assert await world.counts(queue) == (0, 0, 0)
    await world.queues.remove(queue, revision=5)
    assert await world.counts(queue) == (0, 0, 0)


async def test_what_was_kept_for_a_queue_is_there_once_it_is_made(world: World) -> None:
    for fifo in (False, True):
        queue = world.make(fifo=fifo)
        settings = world.kept.pop(queue)
        await world.queues.keep(queue, [Message(b"early", group_id="g")])
        with pytest.raises(QueueMissingError):
            await world.receive(queue)
        world.kept[queue] = settings
        assert await world.bodies(queue) == ["early"]


async def test_queues_of_other_regions_and_accounts_are_others(world: World) -> None:
    here = world.make()
    there = QueueId(type(HOME)("000000000000", "eu-west-1"), here.name)
    theirs = QueueId(type(HOME)("111111111111", "us-east-1"), here.name)
    for queue in (there, theirs):
        world.kept[queue] = world.kept[here]
        await world.send(queue, queue.arn)
    assert await world.redis.xlen(f"queue:eu-west-1:{here.name}") == 1
    assert await world.receive(here) == []
    assert await world.bodies(there) == [there.arn]
    assert await world.bodies(theirs) == [theirs.arn]


async def test_a_message_of_a_mebibyte_comes_whole(world: World) -> None:
    queue = world.make()
    body = bytes(range(256)) * 4_096
    await world.queues.send(queue, [Message(body)] * 3)
    received = await world.receive(queue)
    assert [message.body == body for message in received] == [True] * 3
