"""A Kafka event source: one consumer of a mapping's group. Lanes are its partitions; Kafka spreads them over the pollers.

Offsets are committed only behind records that are done with.
"""

from __future__ import annotations

import contextlib
from asyncio import timeout
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.poller.mapping.contract import LaneKeeper, LaneName, SourceError, SourceTraits
from shared.domain.mappings import EventSourceMapping
from shared.events.group import GroupReader, ReaderOptions, Start
from shared.events.kafka import client_arguments
from shared.settings.kafka import KafkaCluster

LOOKUP_TIMEOUT_S = 10.0
Judge = Callable[[Iterable[str]], Awaitable[str | None]]
"""What is to be said against servers (host:port); None when they may be connected to."""


class KafkaSource:
    """Of one mapping."""

    traits = SourceTraits(ordered=True)

    def __init__(
        self, mapping: EventSourceMapping, cluster: KafkaCluster, *, drain_s: float, judge: Judge | None = None
    ) -> None:
        """drain_s: how long partitions that move wait for the batches that run. judge: of the addresses of a cluster that a
        request named."""
        self._topics = mapping.topics
        self._judge = judge
        self._options = ReaderOptions(
            cluster=cluster,
            group_id=mapping.consumer_group_id,
            client_id=f"lambdad-mapping-{mapping.uuid}",
            start=_start_of(mapping),
            ordered=True,
            drain_s=drain_s,
        )
        self._reader: GroupReader | None = None
        self._partitions: dict[LaneName, TopicPartition] = {}

    async def check(self) -> None:
        consumer = AIOKafkaConsumer(
            **client_arguments(self._options.cluster),
            client_id=self._options.client_id,
            request_timeout_ms=int(LOOKUP_TIMEOUT_S * 1_000),
        )
        try:
            async with timeout(LOOKUP_TIMEOUT_S):
                await self._check_addresses(self._options.cluster.bootstrap_servers.split(","))
                await consumer.start()
                # And those that the cluster itself tells: its brokers are what the consumer connects to from now on.
                await self._check_addresses(_server(b.host, b.port) for b in consumer._client.cluster.brokers())
                known = await consumer.topics()
        except (KafkaError, OSError, TimeoutError):
            raise SourceError(
                "PROBLEM: Connection error. Please check your event source connection configuration. "
                f"No broker answers at {self._options.cluster.bootstrap_servers}."
            ) from None
        finally:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with timeout(LOOKUP_TIMEOUT_S):
                    await consumer.stop()
        for topic in self._topics:
            if topic not in known:
                raise SourceError(f"PROBLEM: Topic {topic} does not exist in the cluster.")

    async def _check_addresses(self, servers: Iterable[str]) -> None:
        if self._judge is not None and (refusal := await self._judge(servers)) is not None:
            raise SourceError(f"PROBLEM: {refusal}")

    async def open(self, lanes: LaneKeeper) -> None:
        def on_placed(kept: Collection[TopicPartition]) -> None:
            lanes.place([_lane_of(partition) for partition in kept])

        reader = GroupReader(list(self._topics), self._options, drain=lanes.hold, on_placed=on_placed)
        self._reader = await reader.__aenter__()

    async def close(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.__aexit__(None, None, None)

    async def fetch(self, *, wait_s: float) -> dict[LaneName, Sequence[ConsumerRecord]]:
        fetched: dict[LaneName, Sequence[ConsumerRecord]] = {}
        for partition, records in (await self._opened().fetch(wait_s=wait_s)).items():
            lane = _lane_of(partition)
            self._partitions[lane] = partition
            fetched[lane] = records
        return fetched

    def settle(self, lane: LaneName, records: Sequence[ConsumerRecord]) -> None:
        self._opened().settle(self._partitions[lane], records[-1].offset)

    def seek(self, lane: LaneName, records: Sequence[ConsumerRecord]) -> None:
        self._opened().seek(self._partitions[lane], records[0].offset)

    def pause(self, lane: LaneName) -> None:
        self._opened().pause(self._partitions[lane])

    def resume(self, lane: LaneName) -> None:
        self._opened().resume(self._partitions[lane])

    async def lag(self) -> dict[LaneName, int]:
        try:
            behind = await self._opened().lag()
        except KafkaError as error:
            raise SourceError(f"the end of the topics is not known: {error!r}") from error
        return {_lane_of(partition): count for partition, count in behind.items()}

    def _opened(self) -> GroupReader:
        assert self._reader is not None, "the source is not open"
        return self._reader


def _server(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _lane_of(partition: TopicPartition) -> LaneName:
    return f"{partition.topic}-{partition.partition}"


def _start_of(mapping: EventSourceMapping) -> Start:
    if mapping.starting_position == "AT_TIMESTAMP":
        return mapping.starting_timestamp_ms or 0
    return "latest" if mapping.starting_position == "LATEST" else "earliest"
