"""Kafka topics as targets, on the cluster's own Kafka or on another one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from services.router.deliveries.contract import DeliveryError, UndeliverableError
from shared.domain.destinations import TOPIC_SCHEME
from shared.events.internal import is_internal
from shared.events.kafka import client_arguments
from shared.events.records import RECORD_BYTES_MAX, Delivery, KafkaParameters
from shared.settings import Settings

DELIVERY_TIMEOUT_S = 20.0
CLUSTERS_MAX = 8
STOP_TIMEOUT_S = 3.0


class ToKafkaTopic:
    """Keeps a producer for each of the clusters used last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producers: OrderedDict[str, AIOKafkaProducer] = OrderedDict()
        self._opening = asyncio.Lock()

    async def deliver(self, delivery: Delivery) -> None:
        parameters = delivery.parameters if isinstance(delivery.parameters, KafkaParameters) else KafkaParameters()
        servers = parameters.bootstrap_servers or self._settings.kafka.bootstrap_servers
        topic = delivery.target.removeprefix(TOPIC_SCHEME)
        if self._settings.kafka.shares(servers) and is_internal(topic, self._settings):
            raise UndeliverableError(f"{topic} is internal to the cluster")
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                producer = await self._producer(servers)
                await producer.send_and_wait(topic, delivery.payload, key=parameters.key)
        except MessageSizeTooLargeError as error:
            raise UndeliverableError(f"{len(delivery.payload)} bytes are too large for {delivery.target}") from error
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop(servers)
            raise DeliveryError(f"{delivery.target} at {servers}: {error!r}") from error

    async def close(self) -> None:
        for servers in list(self._producers):
            await self._drop(servers)

    async def _producer(self, servers: str) -> AIOKafkaProducer:
        async with self._opening:
            if servers in self._producers:
                self._producers.move_to_end(servers)
                return self._producers[servers]
            producer = AIOKafkaProducer(
                **client_arguments(self._settings.kafka_at(servers)), acks="all", max_request_size=RECORD_BYTES_MAX
            )
            try:
                await producer.start()
            except BaseException:
                await _stop(producer)
                raise
            self._producers[servers] = producer
            while len(self._producers) > CLUSTERS_MAX:
                _, oldest = self._producers.popitem(last=False)
                await _stop(oldest)
            return producer

    async def _drop(self, servers: str) -> None:
        producer = self._producers.pop(servers, None)
        if producer is not None:
            await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
