"""Four kinds of event source for the contract's tests: two queues and a stream in memory, as different from each other as kinds get, and
Kafka on the real engine. A world outlives its readers, as an engine does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Collection, Hashable, Sequence
from typing import Protocol

import msgspec

from services.poller.mapping.contract import EventSource, FilterView, LaneKeeper, LaneName, SourceError, SourceTraits
from services.poller.sources.kafka.format import KafkaFormat
from services.poller.sources.kafka.source import KafkaSource
from shared.domain.mappings import EventSourceMapping, SourceKind
from shared.events.records import KafkaBatchInfo
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import create_topic, mapping_of, produce

OVERHEAD_BYTES = 1_024


class World(Protocol):
    """lanes: two for kinds that have any number of them, one for a queue. fetch_max: large records of a lane in one fetch."""

    mapping: EventSourceMapping
    lanes: list[LaneName]
    fetch_max: int

    async def put(self, lane: LaneName, values: Sequence[bytes]) -> None: ...

    def reader(self, mapping: EventSourceMapping) -> EventSource: ...

    def values(self, payload: bytes) -> list[bytes]:
        """What a function finds in its event."""

    def report(self, payload: bytes, failed: Collection[bytes]) -> bytes:
        """A function's partial batch response."""

    async def missing(self) -> EventSource:
        """A reader of something that is not there."""

    async def move_away(self, opened: EventSource) -> None:
        """All lanes leave the reader."""


class Item(msgspec.Struct, frozen=True):
    lane: LaneName
    number: int
    value: bytes
    at_ms: int
    trace: str = ""


class MemoryFormat:
    """id_name: what the kind calls an item's identifier; data_name: where it has its data."""

    item_type: type[Hashable] = str
    overhead_bytes = OVERHEAD_BYTES

    def __init__(self, id_name: str, data_name: str, *, as_text: bool) -> None:
        self._id_name, self._data_name, self._as_text = id_name, data_name, as_text

    def size_bytes(self, record: Item) -> int:
        return 200 + len(record.value) * 4 // 3

    def timestamp_ms(self, record: Item) -> int:
        return record.at_ms

    def event(self, lane: LaneName, records: Sequence[Item]) -> bytes:
        shown = [
            {
                self._id_name: self.item_id(lane, record),
                self._data_name: record.value.decode() if self._as_text else base64.b64encode(record.value).decode(),
            }
            for record in records
        ]
        return json.dumps({"Records": shown}).encode()

    def item_id(self, lane: LaneName, record: Item) -> Hashable:
        return str(record.number)

    def filter_view(self, record: Item) -> FilterView:
        return FilterView({}, record.value)

    def traces(self, records: Sequence[Item]) -> Sequence[str]:
        return [record.trace for record in records if record.trace]

    def batch_info(self, lane: LaneName, records: Sequence[Item], payload_bytes: int) -> KafkaBatchInfo:
        return KafkaBatchInfo(len(records), "arn:memory", "", payload_bytes, {}, "")


class MemorySource:
    """What both memory kinds share: records that wait in lanes, one reader at a time."""

    traits: SourceTraits

    def __init__(self, world: MemoryWorld, *, there: bool = True) -> None:
        self._world = world
        self._there = there
        self.paused: set[LaneName] = set()
        self.lanes_of: LaneKeeper | None = None

    async def check(self) -> None:
        if not self._there:
            raise SourceError("PROBLEM: it is not there.")

    async def open(self, lanes: LaneKeeper) -> None:
        self.lanes_of = lanes
        lanes.place(())

    async def close(self) -> None:
        self.lanes_of = None
        self._world.abandon()

    async def fetch(self, *, wait_s: float) -> dict[LaneName, Sequence[Item]]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not (found := self._world.take(self.paused)):
                    self._world.changed.clear()
                    await self._world.changed.wait()
                return found
        return {}

    def settle(self, lane: LaneName, records: Sequence[Item]) -> None:
        self._world.settle(lane, records)

    def seek(self, lane: LaneName, records: Sequence[Item]) -> None:
        self._world.again(lane, records)

    def pause(self, lane: LaneName) -> None:
        self.paused.add(lane)

    def resume(self, lane: LaneName) -> None:
        self.paused.discard(lane)
        self._world.changed.set()

    async def lag(self) -> dict[LaneName, int]:
        return {lane: self._world.unsettled(lane) for lane in self._world.lanes}


class MemoryWorld:
    """All but the engine of a kind."""

    fetch_max = 7
    lanes: list[LaneName]
    mapping: EventSourceMapping
    source_type: type[MemorySource]
    shape: MemoryFormat
    id_name: str
    data_name: str

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._number = 0

    def made(self, lane: LaneName, value: bytes) -> Item:
        self._number += 1
        return Item(lane, self._number, value, time.time_ns() // 1_000_000)

    def reader(self, mapping: EventSourceMapping) -> EventSource:
        return EventSource(self.source_type(self), self.shape)

    async def missing(self) -> EventSource:
        return EventSource(self.source_type(self, there=False), self.shape)

    async def move_away(self, opened: EventSource) -> None:
        """As an engine does it: the reader is asked to end what runs, not for long, then its lanes are elsewhere."""
        source: MemorySource = opened.source
        assert source.lanes_of is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await source.lanes_of.hold()
        self.abandon()
        source.paused.clear()
        source.lanes_of.place(())

    def report(self, payload: bytes, failed: Collection[bytes]) -> bytes:
        records = json.loads(payload)["Records"]
        bad = [record[self.id_name] for record in records if self.data(record) in failed]
        return json.dumps({"batchItemFailures": [{"itemIdentifier": item} for item in bad]}).encode()

    def values(self, payload: bytes) -> list[bytes]:
        return [self.data(record) for record in json.loads(payload)["Records"]]

    def data(self, record: dict[str, str]) -> bytes:
        raise NotImplementedError

    async def put(self, lane: LaneName, values: Sequence[bytes]) -> None:
        raise NotImplementedError

    def take(self, paused: Collection[LaneName]) -> dict[LaneName, Sequence[Item]]:
        raise NotImplementedError

    def settle(self, lane: LaneName, records: Sequence[Item]) -> None:
        raise NotImplementedError

    def again(self, lane: LaneName, records: Sequence[Item]) -> None:
        raise NotImplementedError

    def unsettled(self, lane: LaneName) -> int:
        raise NotImplementedError

    def abandon(self) -> None:
        """The reader has gone: what it did not settle comes again."""
        raise NotImplementedError


class QueueSource(MemorySource):
    traits = SourceTraits(ordered=False, redelivers=True, in_flight_max=3)


class QueueWorld(MemoryWorld):
    """Messages in no order, each settled by itself; received ones are invisible until they are given back or their reader goes."""

    source_type = QueueSource
    shape = MemoryFormat("messageId", "body", as_text=True)
    id_name, data_name = "messageId", "body"

    def __init__(self) -> None:
        super().__init__()
        self.lanes = ["orders"]
        self.mapping = mapping_of("x", kind=SourceKind.SQS, topics=(), source_arn="arn:aws:sqs:us-east-1:000000000000:orders")
        self.visible: dict[int, Item] = {}
        self.received: dict[int, Item] = {}

    def data(self, record: dict[str, str]) -> bytes:
        return record["body"].encode()

    async def put(self, lane: LaneName, values: Sequence[bytes]) -> None:
        for item in (self.made(lane, value) for value in values):
            self.visible[item.number] = item
        self.changed.set()

    def take(self, paused: Collection[LaneName]) -> dict[LaneName, Sequence[Item]]:
        if not self.visible or self.lanes[0] in paused:
            return {}
        taken = [self.visible.pop(number) for number in list(self.visible)[: self.fetch_max]]
        self.received |= {item.number: item for item in taken}
        return {self.lanes[0]: taken}

    def settle(self, lane: LaneName, records: Sequence[Item]) -> None:
        for record in records:
            del self.received[record.number]

    def again(self, lane: LaneName, records: Sequence[Item]) -> None:
        for record in records:
            self.visible[record.number] = self.received.pop(record.number)
        self.changed.set()

    def unsettled(self, lane: LaneName) -> int:
        return len(self.visible) + len(self.received)

    def abandon(self) -> None:
        self.visible |= self.received
        self.received.clear()
        self.changed.set()


class FifoSource(MemorySource):
    traits = SourceTraits(redelivers=True, in_flight_max=2)


class FifoWorld(MemoryWorld):
    """A queue with message groups: in order within a group, of which nothing is given while some of it is out."""

    source_type = FifoSource
    fetch_max = 20
    shape = MemoryFormat("messageId", "body", as_text=True)
    id_name, data_name = "messageId", "body"

    def __init__(self) -> None:
        super().__init__()
        self.lanes = ["group-a", "group-b"]
        self.mapping = mapping_of(
            "x", kind=SourceKind.SQS, topics=(), source_arn="arn:aws:sqs:us-east-1:000000000000:orders.fifo"
        )
        self.groups: dict[LaneName, list[Item]] = {lane: [] for lane in self.lanes}
        self.received: dict[LaneName, list[Item]] = {lane: [] for lane in self.lanes}

    def data(self, record: dict[str, str]) -> bytes:
        return record["body"].encode()

    async def put(self, lane: LaneName, values: Sequence[bytes]) -> None:
        self.groups[lane] += [self.made(lane, value) for value in values]
        self.changed.set()

    def take(self, paused: Collection[LaneName]) -> dict[LaneName, Sequence[Item]]:
        found: dict[LaneName, Sequence[Item]] = {}
        for lane, waiting in self.groups.items():
            if waiting and lane not in paused and not self.received[lane]:
                found[lane] = self.received[lane] = waiting[: self.fetch_max]
                self.groups[lane] = waiting[self.fetch_max :]
        return found

    def settle(self, lane: LaneName, records: Sequence[Item]) -> None:
        self.received[lane] = [item for item in self.received[lane] if item not in records]
        self.changed.set()

    def again(self, lane: LaneName, records: Sequence[Item]) -> None:
        assert list(records) == self.received[lane], "something of the group stayed out"
        self.abandon()

    def unsettled(self, lane: LaneName) -> int:
        return len(self.groups[lane]) + len(self.received[lane])

    def abandon(self) -> None:
        for lane, out in self.received.items():
            self.groups[lane] = out + self.groups[lane]
            self.received[lane] = []
        self.changed.set()


class StreamSource(MemorySource):
    traits = SourceTraits(fails_from_first=True)


class StreamWorld(MemoryWorld):
    """Shards that are read in order; settling moves a shard's checkpoint."""

    source_type = StreamSource
    shape = MemoryFormat("sequenceNumber", "data", as_text=False)
    id_name, data_name = "sequenceNumber", "data"

    def __init__(self) -> None:
        super().__init__()
        self.lanes = ["shard-0", "shard-1"]
        arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
        self.mapping = mapping_of("x", kind=SourceKind.KINESIS, topics=(), source_arn=arn)
        self.shards: dict[LaneName, list[Item]] = {lane: [] for lane in self.lanes}
        self.checkpoints = dict.fromkeys(self.lanes, 0)
        self.positions = dict.fromkeys(self.lanes, 0)

    def data(self, record: dict[str, str]) -> bytes:
        return base64.b64decode(record["data"])

    async def put(self, lane: LaneName, values: Sequence[bytes]) -> None:
        self.shards[lane] += [self.made(lane, value) for value in values]
        self.changed.set()

    def take(self, paused: Collection[LaneName]) -> dict[LaneName, Sequence[Item]]:
        found: dict[LaneName, Sequence[Item]] = {}
        for lane, at in self.positions.items():
            if lane not in paused and (items := self.shards[lane][at : at + self.fetch_max]):
                found[lane] = items
                self.positions[lane] = at + len(items)
        return found

    def settle(self, lane: LaneName, records: Sequence[Item]) -> None:
        assert records[0] == self.shards[lane][self.checkpoints[lane]], "settled out of order"
        self.checkpoints[lane] += len(records)

    def again(self, lane: LaneName, records: Sequence[Item]) -> None:
        assert records[0] == self.shards[lane][self.checkpoints[lane]], "sought past what is not settled"
        self.positions[lane] = self.checkpoints[lane]
        self.changed.set()

    def unsettled(self, lane: LaneName) -> int:
        return len(self.shards[lane]) - self.checkpoints[lane]

    def abandon(self) -> None:
        self.positions = dict(self.checkpoints)
        self.changed.set()


class KafkaWorld:
    """A topic of its own on the real engine. Lanes move by real rebalances: another member joins the group and leaves."""

    fetch_max = 7

    def __init__(self, kafka: KafkaCluster) -> None:
        self._kafka = kafka
        self._topic = f"source-{uuid.uuid4().hex[:10]}"
        self.mapping = mapping_of(self._topic)
        self.lanes = [f"{self._topic}-0", f"{self._topic}-1"]

    async def create(self) -> None:
        await create_topic(self._kafka, self._topic, len(self.lanes))

    def reader(self, mapping: EventSourceMapping) -> EventSource:
        source = KafkaSource(mapping, self._kafka, drain_s=3.0)
        return EventSource(source, KafkaFormat(mapping, self._kafka.bootstrap_servers))

    async def put(self, lane: LaneName, values: Sequence[bytes]) -> None:
        await produce(self._kafka, self._topic, list(values), partition=self.lanes.index(lane))

    def values(self, payload: bytes) -> list[bytes]:
        [records] = json.loads(payload)["records"].values()
        return [base64.b64decode(record["value"]) for record in records]

    def report(self, payload: bytes, failed: Collection[bytes]) -> bytes:
        [(lane, records)] = json.loads(payload)["records"].items()
        bad = [record["offset"] for record in records if base64.b64decode(record["value"]) in failed]
        failures = [{"itemIdentifier": {"partition": lane, "offset": offset}} for offset in bad]
        return json.dumps({"batchItemFailures": failures}).encode()

    async def missing(self) -> EventSource:
        return self.reader(mapping_of(f"none-{uuid.uuid4().hex[:8]}"))

    async def move_away(self, opened: EventSource) -> None:
        """A new reader of the same group takes both partitions, for the older one it makes no difference how it lost them."""
        source: KafkaSource = opened.source
        reader = source._opened()
        await reader.revoked()
        for partition in reader.assignment():
            committed = await reader.consumer.committed(partition)
            reader.consumer.seek(partition, committed or 0)
        await reader.assigned([])
        await reader.revoked()
        await reader.assigned(reader.assignment())


@contextlib.asynccontextmanager
async def world_of(kind: str, kafka: KafkaCluster | None) -> AsyncIterator[World]:
    if kind == "queue":
        yield QueueWorld()
    elif kind == "fifo":
        yield FifoWorld()
    elif kind == "stream":
        yield StreamWorld()
    else:
        assert kafka is not None
        world = KafkaWorld(kafka)
        await world.create()
        yield world
