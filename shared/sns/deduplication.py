"""FIFO topics: which message came first, and which number it has.

A deduplication id is remembered with the message that had it, and whether Kafka has that one: until then a client that tries
again is taken at its word, with the same message id and number. What fans out drops what comes twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from importlib import resources
from typing import Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.domain.errors import ServiceException
from shared.domain.topics import DEDUPLICATED_S
from shared.settings import Settings

SCRIPT = resources.files(__package__).joinpath("accept.lua").read_text()
KEEP = "return redis.call('HGET', KEYS[1], 'kept') and redis.call('HSET', KEYS[1], 'kept', '1')"
CONNECTIONS_MAX = 32
TIMEOUT_S = 5.0


class Place(msgspec.Struct, frozen=True):
    """message_id, sequence_number: of the first message with its deduplication id. kept: it is durable."""

    key: str
    message_id: str
    sequence_number: str
    kept: bool


class Deduplication:
    """In the Redis of queues; what is lost there is remembered no longer."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._accept = redis.register_script(SCRIPT)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Nothing is dialled yet."""
        timeout_s = settings.dispatch.redis_timeout_s
        return cls(
            Redis.from_url(
                settings.queues_url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                max_connections=CONNECTIONS_MAX,
            )
        )

    async def place(self, topic_arn: str, scope: str, deduplication_id: str, message_id: str) -> Place:
        """scope: what the id is unique in besides the topic: "", or a group. Raises ServiceException."""
        digest = hashlib.sha256(f"{scope}\0{deduplication_id}".encode()).hexdigest()
        key = f"sns:{{{topic_arn}}}:deduplicated:{digest}"
        now_us = time.time_ns() // 1_000
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await self._accept(
                    keys=[key, f"sns:{{{topic_arn}}}:sequence"], args=[message_id, now_us, DEDUPLICATED_S * 1_000]
                )
        except (RedisError, OSError, TimeoutError) as error:
            raise ServiceException("The message could not be accepted. Please try again.") from error
        found, sequence, kept = (part.decode() for part in reply)
        return Place(key, found, f"1{int(sequence):019d}", kept == "1")

    async def keep(self, places: list[Place]) -> None:
        """Their messages are durable: from now on others with the same ids are duplicates. Where that cannot be noted, a
        duplicate is found out later, by what fans out."""
        if not places:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                pipeline = self._redis.pipeline(transaction=False)
                for place in places:
                    # Not where it has expired meanwhile: it would never expire again.
                    pipeline.eval(KEEP, 1, place.key)
                await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError):
            return

    async def close(self) -> None:
        await self._redis.aclose()
