"""Writes messages to streams that nobody has made: of queues, and of topics."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
import uuid
from collections import deque
from importlib import resources
from typing import Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from shared.queues.errors import QueueUnavailableError
from shared.queues.keys import stream_key, topic_key
from shared.queues.records import Attribute
from shared.settings import Settings
from shared.telemetry.supervision import supervise

SCRIPT = resources.files(__package__).joinpath("append.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
REMEMBERED_S = 15 * 60
BATCH_MESSAGES_MAX = 200
BATCH_BYTES_MAX = 8 * 1024 * 1024
WAITING_MESSAGES_MAX = 10_000
SEND_TIMEOUT_S = 10.0


class _Message(msgspec.Struct, frozen=True):
    """stream, sent_key: where it is appended, and what remembers that it was."""

    stream: str
    sent_key: str
    message_id: str
    body: bytes
    attributes: bytes
    sent: asyncio.Future[str]


class QueueWriter:
    """Writes messages in batches over one connection: what waits while one is under way leaves with the next."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: deque[_Message] = deque()
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """To the Redis that the settings name for queues; nothing is dialled yet."""
        timeout_s = settings.dispatch.redis_timeout_s
        return cls(Redis.from_url(settings.queues_url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s))

    async def send(
        self, queue: str, body: bytes, attributes: dict[str, Attribute] | None = None, *, deduplication_id: str | None = None
    ) -> str:
        """The message's id, once Redis has it. A deduplication id sent within the last 15 minutes is not sent again.

        Raises QueueUnavailableError.
        """
        return await self._send(stream_key(queue), f"queue-sent:{queue}", body, attributes, deduplication_id)

    async def publish(
        self, topic: str, body: bytes, attributes: dict[str, Attribute] | None = None, *, deduplication_id: str
    ) -> str:
        """To a topic, else as `send`."""
        return await self._send(topic_key(topic), f"topic-sent:{topic}", body, attributes, deduplication_id)

    async def _send(
        self, stream: str, sent: str, body: bytes, attributes: dict[str, Attribute] | None, deduplication_id: str | None
    ) -> str:
        if len(self._waiting) >= WAITING_MESSAGES_MAX:
            raise QueueUnavailableError("too many messages wait for Redis")
        message_id = str(uuid.uuid4())
        message = _Message(
            stream,
            f"{sent}:{deduplication_id or message_id}",
            message_id,
            body,
            msgspec.json.encode(attributes or {}),
            asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(message)
        if self._writing is None or self._writing.done():
            self._writing = supervise("queue-writer", self._write, essential=True)
        return await message.sent

    async def close(self) -> None:
        if self._writing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._writing
        await self._redis.aclose()

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft()]
            size = len(batch[0].body)
            while self._waiting and len(batch) < BATCH_MESSAGES_MAX and size < BATCH_BYTES_MAX:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].body)
            try:
                await self._send_batch(batch)
            finally:
                # Whatever went wrong: these are in no list any more, and nobody else would tell their senders.
                for message in batch:
                    if not message.sent.done():
                        message.sent.set_exception(QueueUnavailableError("the batch of a message was broken off"))

    async def _send_batch(self, batch: list[_Message]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                replies = await self._run(batch)
        except (RedisError, OSError, TimeoutError) as error:
            replies = [error] * len(batch)
        for message, reply in zip(batch, replies, strict=True):
            if message.sent.done():
                continue
            if isinstance(reply, BaseException):
                message.sent.set_exception(QueueUnavailableError(f"Redis did not take a message: {reply!r}"))
            else:
                message.sent.set_result(reply.decode() if isinstance(reply, bytes) else str(reply))

    async def _run(self, batch: list[_Message]) -> list[object]:
        replies = await self._pipeline(batch)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # A Redis that was started anew does not know the script; the deduplication ids make sending all again safe.
            await self._redis.script_load(SCRIPT)
            replies = await self._pipeline(batch)
        return replies

    async def _pipeline(self, batch: list[_Message]) -> list[object]:
        now_ms = str(time.time_ns() // 1_000_000)
        pipeline = self._redis.pipeline(transaction=False)
        for message in batch:
            pipeline.evalsha(
                SCRIPT_SHA,
                2,
                message.stream,
                message.sent_key,
                str(REMEMBERED_S),
                message.message_id,
                message.body,
                message.attributes,
                hashlib.md5(message.body, usedforsecurity=False).hexdigest(),
                now_ms,
            )
        replies: list[object] = await pipeline.execute(raise_on_error=False)
        return replies
