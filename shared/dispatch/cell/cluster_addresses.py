"""Addresses of a cell's services, which the functions of a worker must not reach: engines, as frontends tell them, and the
dispatch ports of workers, as they are registered."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from shared.dispatch.cell.engines import TOLD_FOR_S, Address
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.worker_record import decode
from shared.dispatch.wire.addresses import UNIX
from shared.redis.connection import RedisConnection

WORKERS_MAX = 2_000
"""Those that are known: to read more whenever Redis comes back, and to refuse them, would cost more than it is worth."""
WORKERS_A_READ = 500


class Found(NamedTuple):
    """Hosts by whatever name they are told or registered."""

    engines: frozenset[Address]
    workers: frozenset[Address]


class ClusterAddresses:
    """Workers are read once a connection; after that only those that are heard of, for all of them together are much."""

    def __init__(self, redis: RedisConnection, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._engines: frozenset[Address] = frozenset()
        self._workers: dict[bytes, Address] = {}
        self._changed: set[bytes] | None = None
        """Workers that were heard of; None when any may have been missed."""
        self.news = asyncio.Event()
        """There are engines that were not known; for whoever looks to clear."""

    def connected(self) -> None:
        """Redis is there (again): what was said meanwhile was not heard."""
        self._changed = None

    def heard(self, message: bytes) -> None:
        """What is published on `events`."""
        what, _, worker_id = message.partition(b" ")
        if what == b"engines":
            self.news.set()
        if self._changed is not None and what in (b"joined", b"lost"):
            self._changed.add(worker_id)

    async def look(self) -> Found:
        """Raises RedisError."""
        since = time.time() - TOLD_FOR_S
        told = await self._redis.command("ZRANGE", self._keys.engines, int(since), "+inf", "BYSCORE")
        # None at all: that Redis was replaced, and no frontend has told the new one yet.
        self._engines = frozenset(map(_engine, told)) or self._engines
        await self._read_workers()
        return Found(self._engines, frozenset(self._workers.values()))

    async def _read_workers(self) -> None:
        changed, self._changed = self._changed, set()
        try:
            if changed is None:
                records = await self._all_workers()
                self._workers.clear()
            else:
                names = sorted(changed)
                found = await self._redis.command("HMGET", self._keys.workers, *names) if names else []
                records = dict(zip(names, found, strict=True))
        except BaseException:
            self._changed = None
            raise
        for worker_id, record in records.items():
            address = None if record is None else _worker(record)
            if address is None:
                self._workers.pop(worker_id, None)
            elif worker_id in self._workers or len(self._workers) < WORKERS_MAX:
                self._workers[worker_id] = address

    async def _all_workers(self) -> dict[bytes, bytes]:
        """A part at a time: Redis serves others in between."""
        found: dict[bytes, bytes] = {}
        cursor = b"0"
        while len(found) < WORKERS_MAX:
            cursor, flat = await self._redis.command("HSCAN", self._keys.workers, cursor, "COUNT", WORKERS_A_READ)
            found |= zip(flat[::2], flat[1::2], strict=True)
            if cursor == b"0":
                break
        return found


def _engine(told: bytes) -> Address:
    address, _, port = told.decode().partition(" ")
    return address, int(port)


def _worker(record: bytes) -> Address | None:
    """None of one that only its own host reaches."""
    try:
        address = decode(record).address
        host, _, port = address.rpartition(":")
        return None if address.startswith(UNIX) else (host.strip("[]"), int(port))
    except ValueError:
        return None
