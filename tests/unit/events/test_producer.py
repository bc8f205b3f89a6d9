"""When records leave together, on a Kafka producer that is a Python object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from shared.events.producer import BESIDE_BYTES, BatchingProducer, ProduceError
from shared.settings.kafka import KafkaCluster

DEADLINE_S = 10.0


class Batch:
    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, value: bytes, **_: Any) -> object:
        self.values.append(value)
        return self


class Kafka:
    """sent: batches, and what is set when Kafka has taken one."""

    def __init__(self) -> None:
        self.sent: list[tuple[list[bytes], asyncio.Future[None]]] = []

    def create_batch(self) -> Batch:
        return Batch()

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        taken = asyncio.get_running_loop().create_future()
        self.sent.append((batch.values, taken))
        return taken

    async def stop(self) -> None:
        pass

    @property
    def sizes(self) -> list[int]:
        return [len(values) for values, _ in self.sent]

    def take(self, number: int) -> None:
        self.sent[number][1].set_result(None)


class OnObject(BatchingProducer):
    def __init__(self, kafka: Kafka) -> None:
        super().__init__(KafkaCluster(bootstrap_servers="127.0.0.1:1"), client_id="c", timeout_s=DEADLINE_S)
        self.kafka = kafka

    async def _make(self) -> Any:
        return self.kafka


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)


async def started() -> tuple[OnObject, Kafka, list[ProduceError | None]]:
    """With one record that is under way, alone, and what was told of the ends of records."""
    kafka, ends = Kafka(), list[ProduceError | None]()
    producer = OnObject(kafka)
    await producer.open()
    producer.start("t", b"first", ends.append)
    await until(lambda: kafka.sizes == [1])
    return producer, kafka, ends


async def test_what_comes_while_a_batch_is_under_way_leaves_together_once_that_is_taken() -> None:
    producer, kafka, ends = await started()
    for _ in range(20):
        producer.start("t", b"x", ends.append)
    assert kafka.sizes == [1]
    kafka.take(0)
    await until(lambda: kafka.sizes == [1, 20])
    assert ends == [None]
    kafka.take(1)
    await until(lambda: ends == [None] * 21)
    await producer.close()


async def test_what_waits_leaves_beside_a_batch_that_takes_long() -> None:
    producer, kafka, ends = await started()
    for _ in range(20):
        producer.start("t", b"x", ends.append)
    await until(lambda: kafka.sizes == [1, 20])
    producer.start("t", b"third", ends.append)
    kafka.take(1)
    await until(lambda: kafka.sizes == [1, 20, 1])
    assert ends == [None] * 20, "the first one is still under way"
    kafka.take(0)
    kafka.take(2)
    await producer.close()


async def test_much_leaves_at_once_beside_a_batch_that_is_under_way() -> None:
    producer, kafka, ends = await started()
    producer.start("t", b"x" * BESIDE_BYTES, ends.append)
    # A turn of the loop for the record, and one for its batch: no timer.
    for _ in range(3):
        await asyncio.sleep(0)
    assert kafka.sizes == [1, 1]
    kafka.take(0)
    kafka.take(1)
    await producer.close()
    assert ends == [None, None]
