"""What every kind of event source keeps to, and what event source mappings do over any of them: queues and a stream in memory, and
Kafka on the real engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.poller.mapping import delivery as delivery_module
from services.poller.mapping import lag as lag_module
from services.poller.mapping import lane as lane_module
from services.poller.mapping import lanes as lanes_module
from services.poller.mapping.contract import EventSource, LaneName, SourceError
from services.poller.mapping.delivery import BatchDelivery
from services.poller.mapping.lag import LagMeter
from services.poller.mapping.lanes import Lanes
from services.poller.mapping.on_failure import OnFailure
from services.poller.mapping.starts import Starts
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.mappings import ErrorHandling, EventSourceMapping
from shared.events.records import Condition, Outcome
from tests.integration.events.parts import FAILED, OK, QUEUE, Functions, until
from tests.integration.events.source_worlds import World, world_of

KINDS = ("queue", "fifo", "stream", "kafka")
FETCH_S = 5.0


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    kafka = request.getfixturevalue("kafka_engine") if request.param == "kafka" else None
    async with world_of(request.param, kafka) as made:
        yield made


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "RETRY_BACKOFF_S", (0.01,))
    monkeypatch.setattr(delivery_module, "REFUSED_BACKOFF_S", (0.01,))
    monkeypatch.setattr(lane_module, "FAILURE_PAUSE_S", (0.01,))
    monkeypatch.setattr(lag_module, "INTERVAL_S", 0.05)


class Keeper:
    """A source's other side that only remembers."""

    def __init__(self) -> None:
        self.placed: list[set[LaneName]] = []

    async def hold(self) -> None:
        return

    def place(self, kept: Collection[LaneName]) -> None:
        self.placed.append(set(kept))


@contextlib.asynccontextmanager
async def opened(world: World) -> AsyncIterator[EventSource]:
    """A reader with its place, for tests of the source alone."""
    found, keeper = world.reader(world.mapping), Keeper()
    await found.source.check()
    try:
        await found.source.open(keeper)
        await until(lambda: keeper.placed == [set()], "a place")
        yield found
    finally:
        await found.source.close()


async def fetched(found: EventSource, count: int) -> dict[LaneName, list[Any]]:
    """Fetches until there are so many records."""
    records: dict[LaneName, list[Any]] = {}
    async with asyncio.timeout(30):
        while sum(map(len, records.values())) < count:
            for lane, more in (await found.source.fetch(wait_s=FETCH_S)).items():
                records.setdefault(lane, []).extend(more)
    return records


def values_of(world: World, found: EventSource, records: dict[LaneName, list[Any]]) -> dict[LaneName, list[bytes]]:
    return {lane: world.values(found.format.event(lane, items)) for lane, items in records.items()}


def numbered(count: int, prefix: bytes = b"") -> list[bytes]:
    return [prefix + b"%03d" % number for number in range(count)]


async def test_a_source_gives_each_lanes_records_in_their_order(world: World) -> None:
    for lane in world.lanes:
        await world.put(lane, numbered(20, lane.encode()))
    async with opened(world) as found:
        records = await fetched(found, 20 * len(world.lanes))
        assert values_of(world, found, records) == {lane: numbered(20, lane.encode()) for lane in world.lanes}


async def test_what_is_settled_never_comes_again_and_what_is_not_comes_again_to_the_next_reader(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(10))
    async with opened(world) as found:
        records = (await fetched(found, 10))[lane]
        found.source.settle(lane, records[:6])
    async with opened(world) as found:
        again = await fetched(found, 4)
        assert values_of(world, found, again) == {lane: numbered(10)[6:]}


async def test_what_is_sought_comes_again_to_the_same_reader(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(10))
    async with opened(world) as found:
        records = (await fetched(found, 10))[lane]
        found.source.settle(lane, records[:6])
        found.source.seek(lane, records[6:])
        again = (await fetched(found, 4))[lane]
        assert world.values(found.format.event(lane, again)) == numbered(10)[6:]
        found.source.settle(lane, again)
        assert sum((await found.source.lag()).values()) == 0


async def test_nothing_is_fetched_of_a_paused_lane_until_it_is_resumed(world: World) -> None:
    [lane, *others] = world.lanes
    await world.put(lane, [b"first"])
    async with opened(world) as found:
        found.source.settle(lane, (await fetched(found, 1))[lane])
        found.source.pause(lane)
        await world.put(lane, [b"while paused"])
        for other in others:
            await world.put(other, [b"other"])
        if others:
            assert set(await fetched(found, 1)) == set(others)
        assert await found.source.fetch(wait_s=0.3) == {}
        found.source.resume(lane)
        assert values_of(world, found, await fetched(found, 1)) == {lane: [b"while paused"]}


async def test_the_lag_is_what_is_not_settled(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(8))
    async with opened(world) as found:
        records = (await fetched(found, 8))[lane]
        assert sum((await found.source.lag()).values()) == 8
        found.source.settle(lane, records[:5])
        await world.put(lane, [b"more"])
        assert (await found.source.lag())[lane] == 4


async def test_a_source_that_is_not_there_says_so_to_the_mappings_owner(world: World) -> None:
    found = await world.missing()
    with pytest.raises(SourceError, match=r"^PROBLEM: "):
        await found.source.check()


async def test_a_formats_bounds_hold_and_items_are_told_apart(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, [b"x" * size for size in (0, 1, 1_000)])
    async with opened(world) as found:
        records = (await fetched(found, 3))[lane]
    shape = found.format
    event = shape.event(lane, records)
    assert len(event) <= shape.overhead_bytes + sum(map(shape.size_bytes, records))
    ids = [shape.item_id(lane, record) for record in records]
    assert len(set(ids)) == 3
    assert msgspec.json.decode(msgspec.json.encode(ids[0]), type=shape.item_type) == ids[0]
    assert all(shape.timestamp_ms(record) > 0 for record in records)


class Running:
    """A mapping that runs over a world's source."""

    def __init__(self, world: World, functions: Functions, mapping: EventSourceMapping, tell_fails: int) -> None:
        self.world, self.functions = world, functions
        self.outcomes: list[Outcome] = []
        self.results: list[str] = []
        self.tell_fails = tell_fails
        self.found = world.reader(mapping)
        self.given = 0
        self.paused: set[LaneName] = set()
        self._watch()
        shape, traits = self.found.format, self.found.source.traits
        on_failure: OnFailure[Any] = OnFailure(mapping, shape, self._tell)
        starts = Starts(traits.in_flight_max)
        batches: BatchDelivery[Any] = BatchDelivery(
            mapping, traits, shape, functions, on_failure, on_result=self.results.append, pause=starts.pause
        )
        self.lag = LagMeter(mapping.uuid)
        self.lanes: Lanes[Any] = Lanes(
            mapping, self.found, batches.deliver, self.lag, starts=starts, drain_s=0.2, hurry=asyncio.Event()
        )

    def _watch(self) -> None:
        source, paused = self.found.source, self.paused
        fetch, pause, resume = source.fetch, source.pause, source.resume

        async def counts(*, wait_s: float) -> Mapping[LaneName, Sequence[Any]]:
            records = await fetch(wait_s=wait_s)
            self.given += sum(map(len, records.values()))
            return records

        source.fetch = counts
        source.pause = lambda lane: (paused.add(lane), pause(lane))
        source.resume = lambda lane: (paused.discard(lane), resume(lane))

    async def _tell(self, outcome: Outcome) -> None:
        if self.tell_fails:
            self.tell_fails -= 1
            raise OSError("the outcome could not be written, on purpose")
        self.outcomes.append(outcome)

    def batches(self) -> list[list[bytes]]:
        return [self.world.values(call.payload) for call in self.functions.calls]

    def seen(self) -> list[bytes]:
        return [value for batch in self.batches() for value in batch]

    async def behind(self) -> int:
        return sum((await self.found.source.lag()).values())

    async def done(self) -> None:
        async def nothing_behind() -> bool:
            return await self.behind() == 0

        await until(nothing_behind, "everything to be settled")


@contextlib.asynccontextmanager
async def mapping_over(world: World, functions: Functions, *, tell_fails: int = 0, **settings: Any) -> AsyncIterator[Running]:
    mapping = msgspec.structs.replace(world.mapping, **{"batching_window_s": 0.0, **settings})
    running = Running(world, functions, mapping, tell_fails)
    polling = asyncio.Event()

    async def on_polling() -> None:
        polling.set()

    async def on_read() -> None:
        return

    task = asyncio.create_task(running.lanes.run(on_polling, on_read))
    try:
        await asyncio.wait({task, asyncio.create_task(polling.wait())}, return_when=asyncio.FIRST_COMPLETED)
        yield running
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def failing(world: World, bad: Collection[bytes], *, times: int) -> Callable[[Invocation], Awaitable[InvocationResult]]:
    """A function that fails for batches with one of these in it, each so often."""
    failures: Counter[bytes] = Counter()

    async def behave(invocation: Invocation) -> InvocationResult:
        for value in world.values(invocation.payload):
            if value in bad and failures[value] < times:
                failures[value] += 1
                return FAILED
        return OK

    return behave


async def test_a_mapping_runs_every_record_in_batches_and_settles_it(world: World) -> None:
    for lane in world.lanes:
        await world.put(lane, numbered(50, lane.encode()))
    async with mapping_over(world, Functions(), batch_size=10) as running:
        await running.done()
    assert sorted(running.seen()) == sorted(value for lane in world.lanes for value in numbered(50, lane.encode()))
    assert max(map(len, running.batches())) <= 10
    if running.found.source.traits.ordered:
        for lane in world.lanes:
            mine = [value for value in running.seen() if value.startswith(lane.encode())]
            assert mine == numbered(50, lane.encode())


async def test_what_failed_is_tried_again_and_an_ordered_lane_waits_for_it(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(6))
    functions = Functions(failing(world, {b"002"}, times=2))
    async with mapping_over(world, functions, batch_size=2) as running:
        await running.done()
    seen = running.seen()
    assert seen.count(b"002") == 3
    assert set(seen) == set(numbered(6))
    if running.found.source.traits.ordered:
        assert running.batches() == [numbered(6)[:2], *[numbered(6)[2:4]] * 3, numbered(6)[4:]]


async def test_only_what_the_function_reports_is_tried_again_as_the_kind_has_it(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(5))
    reported: list[bytes] = []

    async def reports(invocation: Invocation) -> InvocationResult:
        first = b"001" not in reported and b"001" in world.values(invocation.payload)
        reported.extend([b"001", b"003"] if first else [])
        return InvocationResult(world.report(invocation.payload, {b"001", b"003"} if first else set()), "$LATEST")

    handling = ErrorHandling(report_batch_item_failures=True)
    functions = Functions(reports)
    async with mapping_over(world, functions, batch_size=5, batching_window_s=0.3, error_handling=handling) as running:
        await running.done()
    again = running.batches()[1:]
    expected = numbered(5)[1:] if running.found.source.traits.fails_from_first else [b"001", b"003"]
    assert [value for batch in again for value in batch] == expected


async def test_a_poison_record_is_given_up_by_streams_and_given_back_to_queues(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, [b"000", b"bad", b"002"])
    functions = Functions(failing(world, {b"bad"}, times=5))
    settings: dict[str, Any] = {"batch_size": 1}
    if not world.reader(world.mapping).source.traits.redelivers:
        settings |= {"error_handling": ErrorHandling(retry_attempts_max=1), "on_failure_arn": f"{QUEUE}q"}
    async with mapping_over(world, functions, **settings) as running:
        await running.done()
    assert {b"000", b"002"} <= set(running.seen())
    if running.found.source.traits.redelivers:
        assert (running.seen().count(b"bad"), running.outcomes) == (6, [])
    else:
        [outcome] = running.outcomes
        assert (running.seen().count(b"bad"), outcome.condition) == (2, Condition.RETRY_ATTEMPTS_EXHAUSTED)


async def test_a_batch_that_fails_in_the_poller_itself_is_fetched_again_and_nothing_is_lost(world: World) -> None:
    if world.reader(world.mapping).source.traits.redelivers:
        pytest.skip("what a queue gives up is the queue's own affair")
    for lane in world.lanes:
        await world.put(lane, numbered(6, lane.encode()))
    bad = world.lanes[0].encode() + b"002"
    functions = Functions(failing(world, {bad}, times=99))
    settings = {"error_handling": ErrorHandling(retry_attempts_max=0), "on_failure_arn": f"{QUEUE}q"}
    async with mapping_over(world, functions, tell_fails=2, batch_size=1, **settings) as running:
        await running.done()
    assert running.seen().count(bad) == 3
    assert len(running.outcomes) == 1
    for lane in world.lanes:
        mine = [value for value in running.seen() if value.startswith(lane.encode()) and value != bad]
        assert mine == [value for value in numbered(6, lane.encode()) if value != bad]


async def test_lanes_that_move_in_the_middle_of_a_batch_end_and_their_records_come_again(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(9))
    hang = asyncio.Event()

    async def hangs(_: Invocation) -> InvocationResult:
        await hang.wait()
        return OK

    functions = Functions(hangs)
    async with mapping_over(world, functions, batch_size=3) as running:
        await until(lambda: functions.calls)
        before = len(functions.calls)
        functions.behave = functions._works
        await world.move_away(running.found)
        await running.done()
    later = [value for batch in running.batches()[before:] for value in batch]
    assert sorted(later) == numbered(9), "each came again, once"
    if running.found.source.traits.ordered:
        assert later == numbered(9)


async def test_a_mapping_that_stops_hard_loses_nothing(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(30))
    hang = asyncio.Event()

    async def hangs_at_ten(invocation: Invocation) -> InvocationResult:
        if any(value >= b"010" for value in world.values(invocation.payload)):
            await hang.wait()
        return OK

    functions = Functions(hangs_at_ten)
    async with mapping_over(world, functions, batch_size=5) as running:
        await until(lambda: any(value >= b"010" for value in running.seen()))
    async with mapping_over(world, Functions(), batch_size=5) as later:
        await later.done()
    assert set(later.seen()) >= set(numbered(30)[10:])
    assert set(running.seen()) | set(later.seen()) == set(numbered(30))


async def test_what_waits_behind_a_slow_function_is_bounded_in_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "LANE_BYTES_MIN", 256 * 1024)
    monkeypatch.setattr(lanes_module, "LANE_BYTES_MAX", 256 * 1024)
    [lane, *_] = world.lanes
    large = [b"%03d" % number + b"x" * 100_000 for number in range(60)]
    await world.put(lane, large)
    hang = asyncio.Event()

    async def hangs(_: Invocation) -> InvocationResult:
        await hang.wait()
        return OK

    functions = Functions(hangs)
    async with mapping_over(world, functions, batch_size=10, batching_window_s=300.0) as running:
        most = running.found.source.traits.in_flight_max or 1
        await until(lambda: functions.calls and lane in running.paused, "a lane that is full")
        # What runs, one more batch that may not start, what waits: each of them one fetch that filled the lane.
        assert running.given <= min(59, (most + 2) * world.fetch_max)
        hang.set()
        await running.done()
    assert sorted(running.seen()) == large


async def test_the_lag_is_a_metric_as_long_as_the_mapping_runs(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, numbered(4))
    gate = asyncio.Event()

    async def waits(_: Invocation) -> InvocationResult:
        await gate.wait()
        return OK

    def shown() -> float | None:
        return REGISTRY.get_sample_value("lambdad_mapping_lag_records", {"mapping": world.mapping.uuid})

    async with mapping_over(world, Functions(waits), batch_size=1) as running:
        await until(lambda: shown() == running.lag.records == 4)
        gate.set()
        await until(lambda: shown() == 0)
    assert shown() is None


async def test_no_more_batches_run_at_once_than_the_kind_allows(world: World) -> None:
    for lane in world.lanes:
        await world.put(lane, numbered(20, lane.encode()))
    at_once: list[int] = []
    now = 0

    async def counts(_: Invocation) -> InvocationResult:
        nonlocal now
        now += 1
        at_once.append(now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now -= 1
        return OK

    async with mapping_over(world, Functions(counts), batch_size=1) as running:
        await running.done()
    assert max(at_once) <= (running.found.source.traits.in_flight_max or len(world.lanes))


async def test_filtered_records_are_settled_unseen(world: World) -> None:
    [lane, *_] = world.lanes
    await world.put(lane, [b'{"k": "a"}', b'{"k": "b"}', b'{"k": "a"}'])
    field = {"sqs": "body", "kinesis": "data"}.get(world.mapping.kind.value, "value")
    async with mapping_over(world, Functions(), filters=(f'{{"{field}": {{"k": ["a"]}}}}',)) as running:
        await running.done()
    assert running.seen() == [b'{"k": "a"}'] * 2
