"""Records that are of no use once they are settled leave the disk: what waits for long comes round again and again, each time
as a new record, and a topic keeps those of a week."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaError

from shared.events.kafka import client_arguments
from shared.settings.kafka import KafkaCluster

log = logging.getLogger("lambdad.events.group")

EVERY_S = 60.0
REQUEST_TIMEOUT_MS = 10_000
TIMEOUT_S = 20.0


async def forget_often(cluster: KafkaCluster, client_id: str, committed: Callable[[], Mapping[TopicPartition, int]]) -> None:
    """For ever. committed: the offset of each partition below which nobody needs anything. Kafka removes whole segments; where
    it may not be asked to, they go by their age."""
    done: dict[TopicPartition, int] = {}
    while True:
        await asyncio.sleep(EVERY_S)
        gone = {partition: offset for partition, offset in committed().items() if offset > done.get(partition, 0)}
        if not gone:
            continue
        admin = AIOKafkaAdminClient(**client_arguments(cluster), client_id=client_id, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await admin.start()
                await admin.delete_records({partition: RecordsToDelete(offset) for partition, offset in gone.items()})
        except (KafkaError, OSError, TimeoutError) as error:
            log.info("settled records stay on the disk for now: %r", error)
        else:
            done |= gone
        finally:
            await _close(admin)


async def _close(admin: AIOKafkaAdminClient) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.close()
    except (KafkaError, OSError, TimeoutError) as error:
        log.info("a connection to Kafka was left to end by itself: %r", error)
