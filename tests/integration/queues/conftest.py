"""Queues on a real Redis (each engine that this machine has), with a clock that a test moves."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from shared.domain.arns import Home
from shared.queues import Queues
from shared.queues.keys import stream_of
from shared.queues.records import Message, QueueId, QueueSettings, Received
from tests.integration.redis_process import RedisProcess, engines, running
from tests.support import PATIENCE_S

HOME = Home("000000000000", "us-east-1")
START_MS = 1_800_000_000_000
_numbers = itertools.count()


class World:
    """The queues of one test: what is kept for good of them, and the engine. now_ms: moved by hand."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.url = url
        self.redis = redis
        self.kept: dict[QueueId, QueueSettings] = {}
        self.loads = 0
        self.now_ms = START_MS
        self.queues = self.engine(clock=True)
        self._opened: list[Queues] = []

    def engine(self, *, clock: bool) -> Queues:
        return Queues(
            self.url,
            HOME,
            self.load,
            name="test",
            connect_timeout_s=PATIENCE_S,
            timeout_s=PATIENCE_S,
            clock=(lambda: self.now_ms) if clock else None,
        )

    async def another(self, *, clock: bool) -> Queues:
        """One more engine, as in another process: with the test's clock, or with Redis's own."""
        queues = self.engine(clock=clock)
        self._opened.append(queues)
        await queues.open()
        return queues

    async def load(self, queue: QueueId) -> QueueSettings | None:
        self.loads += 1
        return self.kept.get(queue)

    def make(self, *, fifo: bool = False, **settings: object) -> QueueId:
        """A queue that is kept; the engine knows nothing of it yet."""
        queue = QueueId(HOME, f"q{next(_numbers)}{'.fifo' if fifo else ''}")
        self.kept[queue] = QueueSettings(1, **settings)  # type: ignore[arg-type]
        return queue

    def stream(self, queue: QueueId) -> str:
        return stream_of(queue, HOME)

    def pass_s(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1_000)

    async def send(self, queue: QueueId, *bodies: str, group: str | None = None) -> None:
        if queue.is_fifo:
            group = group or "g"
        await self.queues.send(
            queue,
            [Message(body.encode(), group_id=group, deduplication_id=f"{group}-{body}" if group else None) for body in bodies],
        )

    async def receive(self, queue: QueueId, count_max: int = 10, **how: object) -> list[Received]:
        return await self.queues.receive(queue, count_max=count_max, **{"wait_s": 0, **how})  # type: ignore[arg-type]

    async def bodies(self, queue: QueueId, count_max: int = 10, **how: object) -> list[str]:
        return [message.body.decode() for message in await self.receive(queue, count_max, **how)]

    async def counts(self, queue: QueueId) -> tuple[int, int, int]:
        counts = await self.queues.count(queue)
        return counts.visible, counts.in_flight, counts.delayed

    async def close(self) -> None:
        for queues in (self.queues, *self._opened):
            await queues.close()


@pytest.fixture(scope="session", params=engines())
def redis_process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    yield from running(request.param, tmp_path_factory.mktemp("redis"))


@pytest.fixture
async def world(redis_process: RedisProcess) -> AsyncIterator[World]:
    async with Redis.from_url(redis_process.url) as redis:
        await redis.flushall()
        world = World(redis_process.url, redis)
        await world.queues.open()
        yield world
        await world.close()
