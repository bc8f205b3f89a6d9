"""Function logs reach the real Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

from aiokafka import AIOKafkaConsumer

from services.worker.telemetry.log_shipper import LogShipper
from shared.events.kafka import client_arguments
from shared.events.log_records import decode_log_batch
from shared.settings import EventSettings, Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.worker.cluster import until
from tests.unit.worker.specs import version


async def test_what_functions_write_is_on_the_log_topic_in_order(kafka_engine: KafkaCluster) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}"
    settings = Settings.model_validate(
        kafka_engine.variables()
        | {"instance": "worker-logs", "events": EventSettings(topic_prefix=prefix, async_partitions=2)},
    )
    shipper = LogShipper(settings)
    shipping = asyncio.create_task(shipper.run())
    streams = [shipper.open(version(), f"e-{n}") for n in range(3)]
    for n in range(200):
        for stream in streams:
            stream.append(f"line {n}\n".encode())
        if n % 50 == 0:
            await asyncio.sleep(0.1)
    streams[0].append(b"the last words")

    seen: dict[str, list[str]] = {stream.name: [] for stream in streams}
    async with asyncio.timeout(40):
        await until(shipper.is_idle, deadline_s=30)
        shipping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shipping
        consumer = AIOKafkaConsumer(f"{prefix}.logs", **client_arguments(kafka_engine), auto_offset_reset="earliest")
        await consumer.start()
        try:
            while sum(map(len, seen.values())) < 601:
                record = await consumer.getone()
                batch = decode_log_batch(record.value)
                assert record.key == batch.log_stream.encode()
                seen[batch.log_stream] += [event.message for event in batch.events]
        finally:
            await consumer.stop()
    expected = [f"line {n}\n" for n in range(200)]
    assert seen == {streams[0].name: [*expected, "the last words"], streams[1].name: expected, streams[2].name: expected}


async def test_control_characters_reach_the_topic_and_hold_up_nobody(kafka_engine: KafkaCluster) -> None:
    events = EventSettings(topic_prefix=f"t{uuid.uuid4().hex[:8]}", async_partitions=2)
    settings = Settings.model_validate(kafka_engine.variables() | {"instance": "worker-logs", "events": events})
    shipper = LogShipper(settings)
    shipping = asyncio.create_task(shipper.run())
    loud, quiet = shipper.open(version(), "e-1"), shipper.open(version(), "e-2")
    loud.append(b"\x01" * 480_000 + b"\n")
    quiet.append(b"well\n")
    seen = {loud.name: "", quiet.name: ""}
    async with asyncio.timeout(40):
        await until(shipper.is_idle, deadline_s=30)
        shipping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shipping
        topic = f"{settings.events.topic_prefix}.logs"
        consumer = AIOKafkaConsumer(topic, **client_arguments(kafka_engine), auto_offset_reset="earliest")
        await consumer.start()
        try:
            while sum(map(len, seen.values())) < 480_001 + 5:
                batch = decode_log_batch((await consumer.getone()).value)
                seen[batch.log_stream] += "".join(event.message for event in batch.events)
        finally:
            await consumer.stop()
    assert seen == {loud.name: "\x01" * 480_000 + "\n", quiet.name: "well\n"}
