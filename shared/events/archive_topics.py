"""The Kafka topics of archives: one each, which keeps events for as long as its archive does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code

from shared.domain.errors import ServiceException
from shared.events.kafka import client_arguments
from shared.settings import Settings

TIMEOUT_S = 15.0
REQUEST_TIMEOUT_MS = 10_000
DAY_MS = 24 * 3_600 * 1_000
POLL_S = 0.05


class ArchiveTopics:
    """Each call is bounded and raises ServiceException when Kafka does not do it in time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def name(self) -> str:
        """Of a new one: never that of an archive that was deleted."""
        return f"{self._settings.events.topic_prefix}.archive.{uuid.uuid4().hex}"

    async def create(self, topic: str, retention_days: int) -> None:
        """Returns when it can be written to."""
        async with self._admin() as admin:
            replicas = self._settings.events.replication_factor
            made = await admin.create_topics([NewTopic(topic, 1, replicas, topic_configs=self._configs(retention_days))])
            for _, code, *rest in made.topic_errors:
                if code:
                    raise for_code(code)(f"{rest}")
            while True:
                [described] = await admin.describe_topics([topic])
                if described["error_code"] == 0 and all(each["leader"] >= 0 for each in described["partitions"]):
                    return
                await asyncio.sleep(POLL_S)

    async def keep_for(self, topic: str, retention_days: int) -> None:
        async with self._admin() as admin:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, self._configs(retention_days))
            for answer in await admin.alter_configs([resource]):
                for code, message, *_ in answer.resources:
                    if code:
                        raise for_code(code)(message)

    async def delete(self, topic: str) -> None:
        """One that is not there is deleted already."""
        async with self._admin() as admin:
            for _, code, *_ in (await admin.delete_topics([topic])).topic_error_codes:
                if code and for_code(code) is not UnknownTopicOrPartitionError:
                    raise for_code(code)(topic)

    def _configs(self, retention_days: int) -> dict[str, str]:
        replicas = self._settings.events.replication_factor
        return {
            "retention.ms": str(retention_days * DAY_MS) if retention_days else "-1",
            # Whole segments are removed: of an archive that is kept for a day, none is open for longer than some hours.
            "segment.ms": str(max(retention_days, 1) * DAY_MS // 6),
            "min.insync.replicas": str(max(1, replicas - 1)),
        }

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(
            **client_arguments(self._settings.kafka), client_id="lambdad-archives", request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await admin.start()
                try:
                    yield admin
                finally:
                    await admin.close()
        except (KafkaError, OSError, TimeoutError) as error:
            raise ServiceException(f"The archive could not be changed: {str(error) or type(error).__name__}") from error
