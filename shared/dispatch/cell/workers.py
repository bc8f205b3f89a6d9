"""The connections of one caller to the workers of its cell: one each, made when first needed."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease
from shared.dispatch.cell.search import Search
from shared.dispatch.cell.worker_record import decode
from shared.dispatch.wire.connection import GONE, IDLE, UNCERTAIN, OnEnd, WorkerConnection
from shared.dispatch.wire.frames import HandshakeError
from shared.redis.connection import RedisConnection, RedisError

log = logging.getLogger("lambdad.dispatch")

UNREACHABLE_S = 0.5
"""After a failed attempt a worker is left alone for this long."""


class WorkerUnreachableError(Exception):
    """No connection to the worker could be made; nothing was sent."""


class WorkerConnections:
    """on_end, on_lost: see WorkerConnection."""

    def __init__(
        self,
        redis: RedisConnection,
        keys: Keys,
        *,
        secret: bytes,
        role: str,
        instance: str,
        timeout_s: float,
        on_end: OnEnd[Lease],
        on_lost: Callable[[WorkerConnection[Lease]], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._secret = secret
        self._tls = tls
        self._role = role
        self._instance = instance
        self._timeout_s = timeout_s
        self._on_end = on_end
        self._on_connection_lost = on_lost
        self._open: dict[str, WorkerConnection[Lease]] = {}
        self._connecting: dict[str, asyncio.Task[WorkerConnection[Lease]]] = {}
        self._unreachable_until: dict[str, float] = {}

    def all_open(self) -> list[WorkerConnection[Lease]]:
        return list(self._open.values())

    async def reach(self, lease: Lease, search: Search) -> bool:
        """Connect a lease to its worker; False after giving it back when that worker cannot be reached."""
        try:
            connection = self._open.get(lease.worker_id)
            if connection is None or connection.closed:
                connection = await self.connect(lease.worker_id)
        except WorkerUnreachableError as error:
            self._on_end(lease, GONE if lease.cold else UNCERTAIN)
            search.failed(f"a worker cannot be reached: {error}")
            search.avoid_worker(lease.worker_id)
            return False
        except BaseException:
            self._on_end(lease, GONE if lease.cold else IDLE)
            raise
        lease.connection = connection
        return True

    async def connect(self, worker_id: str) -> WorkerConnection[Lease]:
        """The connection to a worker, made if need be, for all who ask at once. Raises WorkerUnreachableError."""
        connection = self._open.get(worker_id)
        if connection is not None and not connection.closed:
            return connection
        if self._unreachable_until.get(worker_id, 0.0) > time.monotonic():
            raise WorkerUnreachableError(f"{worker_id} could not be reached a moment ago")
        task = self._connecting.get(worker_id)
        if task is None:
            task = asyncio.create_task(self._connect(worker_id), name=f"connect-{worker_id}")
            self._connecting[worker_id] = task
            task.add_done_callback(lambda done: self._connected(worker_id, done))
        # One caller that gives up must not take the connection away from the others.
        return await asyncio.shield(task)

    async def stop_environments(self, tokens: Iterable[str]) -> int:
        """tokens: "<environment>@<worker>". How many environments' workers were told. Never raises: a worker that lives
        reports what it still has."""
        by_worker: dict[str, list[str]] = defaultdict(list)
        for token in tokens:
            environment_id, _, worker_id = token.partition("@")
            by_worker[worker_id].append(environment_id)
        told = 0
        for worker_id, environment_ids in by_worker.items():
            try:
                (await self.connect(worker_id)).stop_environments(environment_ids)
                told += len(environment_ids)
            except WorkerUnreachableError as error:
                log.info("%d environments could not be stopped: %s", len(environment_ids), error)
        return told

    async def _connect(self, worker_id: str) -> WorkerConnection[Lease]:
        try:
            found = await self._redis.command("HGET", self._keys.workers, worker_id)
            if found is None:
                raise WorkerUnreachableError(f"{worker_id} is not registered")
            return await WorkerConnection.connect(
                decode(found).address,
                secret=self._secret,
                tls=self._tls,
                role=self._role,
                instance=self._instance,
                timeout_s=self._timeout_s,
                on_end=self._on_end,
                on_lost=lambda connection: self._lost(worker_id, connection),
            )
        except (OSError, TimeoutError, HandshakeError, RedisError, ValueError) as error:
            raise WorkerUnreachableError(f"{worker_id}: {error or type(error).__name__}") from error

    def _connected(self, worker_id: str, task: asyncio.Task[WorkerConnection[Lease]]) -> None:
        self._connecting.pop(worker_id, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            connection = task.result()
            if not connection.closed:
                self._open[worker_id] = connection
                self._unreachable_until.pop(worker_id, None)
        else:
            log.warning("no connection to worker %s", error)
            if len(self._unreachable_until) > 1_000:
                self._unreachable_until.clear()
            self._unreachable_until[worker_id] = time.monotonic() + UNREACHABLE_S

    def _lost(self, worker_id: str, connection: WorkerConnection[Lease]) -> None:
        if self._open.get(worker_id) is connection:
            del self._open[worker_id]
        self._on_connection_lost(connection)

    def forget(self, worker_id: str) -> None:
        """The scheduler took a worker for dead: whatever still waits for it is lost now."""
        connection = self._open.get(worker_id)
        if connection is not None:
            connection.abort("the worker died")

    async def close(self) -> None:
        for task in list(self._connecting.values()):
            task.cancel()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)
        for connection in list(self._open.values()):
            connection.close()
