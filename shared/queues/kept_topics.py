"""What was meant for topics that nobody has made: a stream a topic, where a person finds it. Nothing reads it."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Mapping
from importlib import resources
from typing import Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.queues.errors import QueueUnavailableError
from shared.queues.keys import topic_key
from shared.queues.records import Attribute
from shared.settings import Settings

SCRIPT = resources.files(__package__).joinpath("append.lua").read_text()
REMEMBERED_S = 15 * 60
TIMEOUT_S = 10.0


class KeptTopics:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._append = redis.register_script(SCRIPT)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """In the Redis that the settings name for queues; nothing is dialled yet."""
        timeout_s = settings.dispatch.redis_timeout_s
        return cls(Redis.from_url(settings.queues_url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s))

    async def keep(self, topic: str, body: bytes, attributes: Mapping[str, Attribute], *, delivery_id: str) -> None:
        """topic: what it is called here. One with a delivery id of the last 15 minutes is there already. Raises
        QueueUnavailableError."""
        keys = [topic_key(topic), f"topic-sent:{topic}:{delivery_id}"]
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        now_ms = str(time.time_ns() // 1_000_000)
        message: list[str | bytes] = [str(uuid.uuid4()), body, msgspec.json.encode(attributes), md5, now_ms]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._append(keys, [REMEMBERED_S, *message])
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueUnavailableError(f"Redis did not take a message: {error!r}") from error

    async def close(self) -> None:
        await self._redis.aclose()
