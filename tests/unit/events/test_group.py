"""A member of a consumer group, on a consumer that is a Python object."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from shared.events.group import GroupReader, ReaderOptions
from shared.settings.kafka import KafkaCluster

PARTITION = TopicPartition("t", 0)
OTHER = TopicPartition("t", 1)


class Consumer:
    """fetches: what each fetch of the partition gives, as offsets."""

    _fetcher: Any = None

    def __init__(self, fetches: list[range]) -> None:
        self.fetches = fetches

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION, OTHER}

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        return {PARTITION: [SimpleNamespace(offset=offset) for offset in self.fetches.pop(0)]}


async def read(fetches: list[range], *, rebalances: bool = False) -> tuple[list[list[int]], list[set[TopicPartition]]]:
    """The offsets that each fetch gives, all of them settled at once, and what was kept whenever that was told.

    rebalances: after the first fetch, with no partition moving."""
    kept: list[set[TopicPartition]] = []
    options = ReaderOptions(KafkaCluster(bootstrap_servers="127.0.0.1:1"), "g", "c", ordered=True)
    reader = GroupReader(["t"], options, on_placed=lambda partitions: kept.append(set(partitions)))
    await reader.consumer.stop()
    reader.consumer = Consumer(fetches)
    reader._assigned.set()
    given = []
    for _ in range(len(fetches)):
        offsets = [record.offset for record in (await reader.fetch(wait_s=0.0)).get(PARTITION, [])]
        given.append(offsets)
        for offset in offsets:
            reader.settle(PARTITION, offset)
        if rebalances and len(given) == 1:
            # Its offsets cannot be read (no broker answers), which an ordinary start survives.
            await reader.assigned([PARTITION])
    return given, kept


async def test_a_log_that_was_made_anew_is_read_from_its_beginning() -> None:
    given, kept = await read([range(20), range(3), range(3, 5)])
    assert given == [list(range(20)), [0, 1, 2], [3, 4]]
    assert kept == [set()], "what was fetched of the old log is forgotten"


async def test_a_new_log_that_is_longer_than_the_old_one_was_is_read_from_its_beginning_too() -> None:
    given, _ = await read([range(20), range(50)])
    assert given == [list(range(20)), list(range(50))]


async def test_what_is_fetched_again_after_a_rebalance_is_not_given_again() -> None:
    given, kept = await read([range(20), range(10, 25)], rebalances=True)
    assert given == [list(range(20)), [20, 21, 22, 23, 24]]
    assert kept == [{PARTITION}]


async def test_the_broker_collects_longer_for_a_reader_that_has_much_to_do() -> None:
    options = ReaderOptions(KafkaCluster(bootstrap_servers="127.0.0.1:1"), "g", "c", fetch_wait_ms=2_500)
    reader = GroupReader(["t"], options)
    await reader.consumer.stop()
    consumer = Consumer([range(1), range(1, 30), range(30, 60), range(60, 90)])
    consumer._fetcher = fetcher = SimpleNamespace(_fetch_max_wait_ms=2_500, _fetch_min_bytes=1)
    reader.consumer = consumer
    reader._assigned.set()
    asked = []
    for behind in (False, False, True, False):
        await reader.fetch(wait_s=0.0, behind=behind)
        asked.append((fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes))
    alone, many, much, many_again = asked
    assert alone == (20, 1), "one that comes alone is fetched at once"
    assert many == many_again == (4, 8 * 1024)
    assert much == (20, 64 * 1024)
