"""One cell as a holder uses it: one Redis, the leases in it, those kept for a moment, and connections to its workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from shared.dispatch.cell.holder import Holder
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Leases, NoCapacity, Rebuilding, Stale, Throttled, Version
from shared.dispatch.cell.metrics import DispatchCounts
from shared.dispatch.cell.scripts import SCRIPTS
from shared.dispatch.cell.search import Search
from shared.dispatch.cell.sticky import StickyLeases
from shared.dispatch.cell.worker_record import decode, why_none_runs
from shared.dispatch.cell.workers import WorkerConnections
from shared.dispatch.wire.connection import GONE, IDLE
from shared.dispatch.wire.tls import for_caller
from shared.domain.errors import (
    DispatchError,
    DispatchUnavailableError,
    InvalidRuntimeException,
    NoCapacityError,
    StaleTargetError,
    TooManyRequestsException,
)
from shared.domain.functions import InvokeTarget, VersionSpec
from shared.redis.connection import RedisConnection, RedisError
from shared.settings import Settings

log = logging.getLogger("lambdad.dispatch")

POLL_S = 0.25
"""Someone who waits for room looks again this often, should the message that there is room be lost."""
RECALL_S = 0.01
"""How long holders get to give unused leases back before a limit is taken for reached."""
WAITING_MAX = 10_000
CLOSE_TIMEOUT_S = 2.0

RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_REASON = "ConcurrentInvocationLimitExceeded"


class Cell:
    """role: of this process, for the handshake. holder: its name in Redis. on_urls_changed: told which function's URLs changed,
    None for any: what the cell's announcements say besides what concerns leases. Raises ConfigurationError."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        *,
        role: str,
        holder: str,
        secret: bytes,
        counts: DispatchCounts,
        on_urls_changed: Callable[[str | None], None],
    ) -> None:
        dispatch = settings.dispatch
        keys = self._keys = Keys(name)
        self._counts = counts
        self._on_urls_changed = on_urls_changed
        self._connect_timeout_s = dispatch.connect_timeout_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._redis = RedisConnection(
            settings.redis_url,
            name=holder,
            connect_timeout_s=dispatch.connect_timeout_s,
            timeout_s=dispatch.redis_timeout_s,
            channel=keys.events,
            on_published=self._on_published,
            on_connected=self._on_connected,
            scripts=SCRIPTS.all(),
        )
        self._leases = Leases(self._redis, keys, holder, account_concurrency=dispatch.account_concurrency)
        self._sticky = StickyLeases(dispatch.sticky_ms, self._leases.release)
        self._workers = WorkerConnections(
            self._redis,
            keys,
            secret=secret,
            tls=for_caller(dispatch),
            role=role,
            instance=holder,
            timeout_s=dispatch.connect_timeout_s,
            on_end=self._sticky.give_back,
            on_lost=self._sticky.lost,
        )
        self._holder = Holder(self._redis, keys, self._leases, self._sticky, dispatch)

    async def open(self) -> None:
        """Connect in the background; returns at once when Redis answers, in a bounded time when it does not."""
        self._redis.start()
        self._holder.start()
        await self._redis.wait_connected(self._connect_timeout_s)

    async def close(self) -> None:
        """Give every lease back and close the connections; what is in flight is lost. Bounded."""
        self._closed = True
        self._sticky.recall()
        await self._workers.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._holder.leave()
        await self._holder.close()
        await self._redis.close()

    def problem(self) -> str | None:
        """Why leases cannot be had now, None when all is well."""
        if not self._redis.connected:
            return f"redis: {self._redis.problem}"
        return self._holder.problem

    @property
    def unsettled(self) -> int:
        """Leases that are held, or that Redis has not confirmed to have back."""
        return self._leases.unsettled

    def take(self, target: InvokeTarget) -> Lease | None:
        """A kept lease, if one is at hand: without asking anybody."""
        version = self._sticky.versions.get(target.spec.version_key)
        if version is None or version.revision != target.revision or version.closed:
            return None
        return self._sticky.take(version)

    async def find(self, target: InvokeTarget, search: Search) -> Lease:
        """A lease whose worker is connected, waiting for room as long as the search may.

        Raises TooManyRequestsException, StaleTargetError, NoCapacityError, DispatchUnavailableError, and
        InvalidRuntimeException once a worker has refused it and none is known that would not."""
        if search.lacks_runtime:
            await self._leave_out_unsuited(target.spec, search)
        while True:
            lease = await self._acquire(target, search)
            if lease.connection is None and not await self._workers.reach(lease, search):
                continue
            return lease

    async def _leave_out_unsuited(self, spec: VersionSpec, search: Search) -> None:
        search.lacks_runtime = False
        try:
            found = await self._redis.command("HGETALL", self._keys.workers)
        except RedisError:
            return  # as the search will find
        records = {worker.decode(): decode(record) for worker, record in found.items()}
        unsuited = []
        for worker, record in records.items():
            refused = f",{worker}," in search.unsuited
            able = record.capabilities
            if refused or (able is not None and not able.runs(spec.runtime, spec.architecture)):
                unsuited.append(worker)
        if records and len(unsuited) == len(records):
            known = [record.capabilities for record in records.values() if record.capabilities is not None]
            raise InvalidRuntimeException(why_none_runs(known, spec.runtime, spec.architecture) or str(search.last_failure))
        search.leave_out(unsuited)

    def _version(self, target: InvokeTarget) -> Version:
        known = self._sticky.versions.get(target.spec.version_key)
        if known is not None and known.revision == target.revision and not known.closed:
            return known
        if known is not None and known.revision > target.revision:
            raise StaleTargetError(f"revision {target.revision} is older than {known.revision}")
        return self._sticky.open(self._leases.version(target))

    async def _acquire(self, target: InvokeTarget, search: Search) -> Lease:
        while True:
            if self._closed:
                raise DispatchUnavailableError("the dispatcher is closed")
            search.count_attempt()
            version = self._version(target)
            asked = self._leases.acquire(version, search.avoid)
            try:
                answer = await asked
            except RedisError as error:
                await self._wait(search, DispatchUnavailableError(str(error)))
                continue
            except asyncio.CancelledError:
                if asked.done() and not asked.cancelled() and asked.exception() is None:
                    answer = asked.result()
                    if type(answer) is Lease:
                        # It came in the same turn of the loop as the end of whoever wanted it.
                        self._leases.release(answer, GONE if answer.cold else IDLE)
                raise
            if type(answer) is Lease:
                self._sticky.granted(answer)
                if answer.cold:
                    self._counts.cold += 1
                else:
                    self._counts.warm += 1
                # Whoever else waits may find room too; if not, its own attempt asks to be woken again.
                if self._waiting:
                    self._wake_one()
                return answer
            if type(answer) is Throttled:
                if answer.retry and not search.recalled:
                    search.recalled = True
                    await asyncio.sleep(RECALL_S)
                    continue
                self._counts.throttled += 1
                raise TooManyRequestsException(RESERVED_REASON if answer.reserved else ACCOUNT_REASON)
            if type(answer) is Stale:
                self._counts.stale += 1
                raise StaleTargetError(f"revision {target.revision} is older than {answer.revision}")
            if type(answer) is NoCapacity:
                self._counts.no_capacity += 1
                self._sticky.recall()
                await self._wait(search, search.last_failure or NoCapacityError("no worker has room"))
            elif type(answer) is Rebuilding:
                await self._wait(search, DispatchUnavailableError("the leases are being rebuilt"))

    async def _wait(self, search: Search, otherwise: DispatchError) -> None:
        """Until there may be room. Raises `otherwise` when the search has no time left."""
        left_s = search.left_s()
        if left_s <= 0 or len(self._waiting) >= WAITING_MAX:
            raise otherwise
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(min(POLL_S, left_s), _wake, waiter)
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                self._waiting.remove(waiter)
        search.waited()

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _on_published(self, message: bytes) -> None:
        kind, _, rest = message.partition(b" ")
        if kind == b"room":
            self._wake_one()
        elif kind == b"recall":
            self._sticky.recall()
        elif kind == b"changed":
            function, _, revision = rest.decode().rpartition(" ")
            self._sticky.changed(function, int(revision))
        elif kind == b"epoch":
            self._sticky.recall()
            for _ in range(len(self._waiting)):
                self._wake_one()
        elif kind == b"rebuilding":
            self._sticky.recall()
        elif kind == b"lost":
            self._workers.forget(rest.decode())
        elif kind == b"urls":
            self._on_urls_changed(rest.decode())

    def _on_connected(self) -> None:
        # Messages may have been missed while there was no connection.
        self._on_urls_changed(None)
        self._sticky.recall()
        self._leases.repeat_releases()
        self._holder.connected()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
