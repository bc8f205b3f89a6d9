"""A cluster under test, and those of its surroundings that the load and what is done to it share."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import redis
from botocore.config import Config
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.chaos.address import Address
from tests.chaos.queue_reader import QueueReader
from tests.conftest import Cluster

PATIENCE_S = 60
"""How long Redis is asked again by who reads what came of the load."""
BETWEEN_S = 0.2


class Place:
    """A running cluster. redis: a client of its, which outlives its restarts. address: an HTTP server of the test's own, which
    topics post to. clock: the file that moves the cluster's clock (clock.c). worker_port: of the worker's dispatch port, where it
    has one. queues: those that are read."""

    def __init__(
        self, cluster: Cluster, address: Address, *, clock: Path | None = None, worker_port: int | None = None
    ) -> None:
        self.cluster = cluster
        self.address = address
        self.clock = clock
        self.worker_port = worker_port
        self.redis: Any = redis.Redis.from_url(
            cluster.environment["REDIS_URL"],
            decode_responses=True,
            retry=Retry(ConstantBackoff(BETWEEN_S), int(PATIENCE_S / BETWEEN_S)),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            socket_timeout=5,
        )
        self.queues: list[QueueReader] = []
        self.client = cache(self._client)

    def close(self) -> None:
        self.redis.close()

    def queue(self, name: str, **attributes: str) -> QueueReader:
        """A new queue, whose messages are read beside its receivers."""
        url = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        queue = QueueReader(self.redis, name, url)
        self.queues.append(queue)
        return queue

    def now_s(self) -> float:
        """What the cluster's clock shows, Unix seconds."""
        return time.time() + (0 if self.clock is None else int.from_bytes(self.clock.read_bytes(), sys.byteorder, signed=True))

    def wipe_redis(self) -> None:
        """All of it, at once with reading what its queues hold: so what nobody had received is known, one by one."""
        everything = self.redis.pipeline(transaction=True)
        for queue in self.queues:
            queue.ask(everything)
        everything.flushall()
        replies: Sequence[Any] = everything.execute()
        for number, queue in enumerate(self.queues):
            queue.wiped(replies[2 * number], replies[2 * number + 1])

    def _client(self, service: str) -> Any:
        """boto3's, without tries of its own: what is accepted is what the cluster has answered once."""
        return boto3.client(
            service,
            endpoint_url=self.cluster.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.cluster.access_key_id,
            aws_secret_access_key=self.cluster.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30, connect_timeout=5, max_pool_connections=20),
        )
