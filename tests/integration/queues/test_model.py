"""Whatever is asked of a queue in whatever order, it answers as a model of it that can be read in a minute."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.queues.records import Message, QueueSettings, Received
from tests.integration.queues.conftest import World

VISIBILITY_S = 10


@dataclasses.dataclass(eq=False)
class Known:
    """A message of the model, none equal to another. visible_at: in flight or delayed until then."""

    body: str
    group: str
    visible_at: float
    receives: int = 0
    in_flight: bool = False


class Model:
    """All messages of a queue in the order in which they were sent."""

    def __init__(self, fifo: bool) -> None:
        self.fifo = fifo
        self.now = 0.0
        self.messages: list[Known] = []
        self.sent_at: dict[str, float] = {}

    def send(self, body: str, group: str, delay_s: int) -> None:
        if self.fifo:
            if self.now - self.sent_at.get(body, -1_000) < 300:
                return
            self.sent_at[body] = self.now
            delay_s = 0
        self.messages.append(Known(body, group, self.now + delay_s))

    def receivable(self, count: int) -> list[Known]:
        """Of a standard queue all that is visible: any of them may come. Of a FIFO queue what has to come."""
        if not self.fifo:
            return [each for each in self.messages if each.visible_at <= self.now]
        chosen: list[Known] = []
        for group in dict.fromkeys(each.group for each in self.messages):
            for each in (each for each in self.messages if each.group == group):
                if each.visible_at > self.now:
                    break
                chosen.append(each)
        return chosen[:count]

    def receive(self, each: Known, visibility_s: int) -> None:
        each.receives += 1
        each.in_flight = True
        each.visible_at = self.now + visibility_s

    def settled(self, each: Known, receive: int) -> str:
        """What a handle of that receive does."""
        if each not in self.messages:
            return "done"
        over = each.visible_at <= self.now
        if self.fifo:
            return "expired" if each.receives != receive or over else "live"
        return "stale" if each.receives != receive else "over" if over else "live"


sends = st.tuples(st.just("send"), st.integers(0, 9), st.sampled_from("abc"), st.sampled_from([0, 0, 0, 5]))
receives = st.tuples(st.just("receive"), st.integers(1, 4), st.sampled_from([0, 5, VISIBILITY_S]))
deletes = st.tuples(st.just("delete"), st.integers(0, 30))
changes = st.tuples(st.just("change"), st.integers(0, 30), st.sampled_from([0, 3, 20]))
passes = st.tuples(st.just("pass"), st.sampled_from([1, 4, 9, 301]))
purges = st.tuples(st.just("purge"))
steps = st.lists(st.one_of(sends, sends, sends, receives, receives, deletes, changes, passes, purges), min_size=30, max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fifo=st.booleans(), asked=steps)
async def test_a_queue_is_its_model(world: World, fifo: bool, asked: list[tuple[object, ...]]) -> None:
    queue = world.make(fifo=fifo)
    world.kept[queue] = QueueSettings(1, visibility_s=VISIBILITY_S)
    model, handles = Model(fifo), list[tuple[Known, Received]]()
    for kind, *how in asked:
        # Each step at a time of its own: what happens in the same millisecond has no order.
        world.pass_s(0.01)
        model.now += 0.01
        match kind, *how:
            case "send", int(number), str(group), int(delay_s):
                body = f"{number}{group}" if fifo else f"{len(handles)}-{world.now_ms}"
                model.send(body, group, delay_s)
                message = Message(body.encode(), group_id=group, deduplication_id=body, delay_s=delay_s)
                await world.queues.send(queue, [message])
            case "receive", int(count), int(visibility_s):
                expected = model.receivable(count)
                found = await world.receive(queue, count, visibility_s=visibility_s)
                assert len(found) == min(count, len(expected))
                if fifo:
                    assert [each.body.decode() for each in found] == [each.body for each in expected]
                by_body = {each.body.encode(): each for each in expected}
                for number, received in enumerate(found):
                    # Of a FIFO queue the order tells which it is: its bodies may come again.
                    known = expected[number] if fifo else by_body[received.body]
                    model.receive(known, visibility_s)
                    assert received.receive_count == known.receives
                    handles.append((known, received))
            case "delete", int(which) if handles:
                known, received = handles[which % len(handles)]
                state = model.settled(known, received.receive_count)
                [answer] = await world.queues.delete(queue, [received.receipt_handle])
                assert answer == {"live": "done", "over": "done"}.get(state, state)
                if known in model.messages and answer == "done":
                    model.messages.remove(known)
            case "change", int(which), int(seconds) if handles:
                known, received = handles[which % len(handles)]
                state = model.settled(known, received.receive_count)
                [answer] = await world.queues.change_visibility(queue, [(received.receipt_handle, seconds)])
                assert answer == {"live": "done", "over": "visible", "done": "missing"}.get(state, state)
                if answer == "done":
                    known.visible_at = model.now + seconds
            case "pass", int(seconds):
                world.pass_s(seconds)
                model.now += seconds
            case "purge", *_ if model.now > 0 and not getattr(model, "purged", False):
                await world.queues.purge(queue)
                model.messages.clear()
                model.sent_at.clear()
                model.purged = True  # type: ignore[attr-defined]
        hidden = [each for each in model.messages if each.visible_at > model.now]
        in_flight = [each for each in hidden if each.in_flight]
        expected_counts = (len(model.messages) - len(hidden), len(in_flight), len(hidden) - len(in_flight))
        assert await world.counts(queue) == expected_counts
