"""The one way to run a function: take a lease, send the invocation to its worker, hand the answer back."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable

from shared.dispatch.connection import InvocationRefusedError, NotSentError, WorkerConnection, into
from shared.dispatch.holder import Holder
from shared.dispatch.keys import Keys, check_instance_name
from shared.dispatch.leases import GONE, IDLE, UNCERTAIN, Lease, Leases, NoCapacity, Rebuilding, Stale, Throttled, Version
from shared.dispatch.metrics import DispatchCounts
from shared.dispatch.redis_connection import RedisConnection, RedisError
from shared.dispatch.sticky import StickyLeases
from shared.dispatch.streaming import ResponseStream
from shared.dispatch.wire import InvokeHeader, RefusalReason, ResultHeader
from shared.dispatch.workers import WorkerConnections, WorkerUnreachableError
from shared.domain.errors import (
    ConfigurationError,
    DispatchError,
    DispatchUnavailableError,
    NoCapacityError,
    StaleTargetError,
    TooManyRequestsException,
)
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import INIT_TIMEOUT_S
from shared.settings import Settings

log = logging.getLogger("lambdad.dispatch")

ATTEMPTS_MAX = 16
"""Leases tried for one invocation when workers refuse it or cannot be reached."""
MARGIN_S = 5.0
"""What a worker gets beyond a function's timeout and initialisation: to fetch its code, to kill it, to answer."""
POLL_S = 0.25
"""Someone who waits for room looks again this often, should the message that there is room be lost."""
RECALL_S = 0.01
"""How long holders get to give unused leases back before a limit is taken for reached."""
WAITING_MAX = 10_000
CLOSE_TIMEOUT_S = 2.0

RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_REASON = "ConcurrentInvocationLimitExceeded"


OnInvoked = Callable[[InvocationResult | None, Exception | None], None]
"""Gets an invocation's result, or why there is none: InvocationRefusedError (nothing ran: `invoke` may still find a place) or
InvocationLostError. Called exactly once, from the loop; it must not raise."""


class Dispatcher:
    """Runs invocations for one process. role: "frontend", "poller" or "router"; for logs and the handshake.

    Counts what it did in `counts`. Any number of invocations may run at once, on the loop that called `start`."""

    def __init__(self, settings: Settings, *, role: str) -> None:
        self._settings = settings
        self._role = role
        self._keys = Keys(settings.dispatch.cell)
        # Unique for each start: what an earlier life of this process held is given back by the scheduler, not mixed up.
        self.holder = check_instance_name(f"{settings.instance or role}.{uuid.uuid4().hex[:8]}")
        self.counts = DispatchCounts()
        self.on_urls_changed: Callable[[str | None], None] | None = None
        """Told which function's URLs changed, None for any: what the cell's announcements say besides what concerns leases."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def start(self) -> None:
        """Connect in the background; returns at once when Redis answers, in a bounded time when it does not.

        Raises ConfigurationError without a cluster secret."""
        dispatch = self._settings.dispatch
        secret = self._settings.cluster_secret.get_secret_value().encode()
        if not secret:
            raise ConfigurationError("set LAMBDAD_CLUSTER_SECRET to the same secret for every process of the cluster")
        self._redis = RedisConnection(
            self._settings.redis_url,
            name=self.holder,
            connect_timeout_s=dispatch.connect_timeout_s,
            timeout_s=dispatch.redis_timeout_s,
            channel=self._keys.events,
            on_published=self._on_published,
            on_connected=self._on_connected,
        )
        self._leases = Leases(self._redis, self._keys, self.holder, account_concurrency=dispatch.account_concurrency)
        self._sticky = StickyLeases(dispatch.sticky_ms, self._leases.release)
        self._workers = WorkerConnections(
            self._redis,
            self._keys,
            secret=secret,
            role=self._role,
            instance=self.holder,
            timeout_s=dispatch.connect_timeout_s,
            on_end=self._sticky.give_back,
            on_lost=self._on_worker_lost,
        )
        self._holder = Holder(self._redis, self._keys, self._leases, self._sticky, dispatch)
        self._redis.start()
        self._holder.start()
        await self._redis.wait_connected(dispatch.connect_timeout_s)

    async def close(self) -> None:
        """Give every lease back and close the connections; what is in flight is lost. Bounded."""
        if self._closed:
            return
        self._closed = True
        self._sticky.recall()
        await self._workers.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._holder.leave()
        await self._holder.close()
        await self._redis.close()

    @property
    def unsettled(self) -> int:
        """Leases that are held, or that Redis has not confirmed to have back."""
        return self._leases.unsettled

    def problem(self) -> str | None:
        """A health check: None, or why invocations cannot run now."""
        if not self._redis.connected:
            return f"redis: {self._redis.problem}"
        return self._holder.problem

    async def invoke(
        self, target: InvokeTarget, invocation: Invocation, *, wait_s: float, response: ResponseStream | None = None
    ) -> InvocationResult:
        """Run one invocation. wait_s bounds the wait for room, not the run. response: gets the response while it is written,
        if the function streams it; the result then has no payload but an error document, if any.

        Raises TooManyRequestsException, StaleTargetError, NoCapacityError, DispatchUnavailableError (in all of these
        nothing ran) or InvocationLostError (whether it ran is unknown). Cancelling the caller cancels the invocation.
        """
        version = self._sticky.versions.get(target.spec.version_key)
        if version is None or version.revision != target.revision or version.closed:
            version = self._open_version(target)
        lease = self._sticky.take(version)
        search: _Search | None = None
        if response is not None:
            response.executed_version = target.spec.version
        while True:
            if lease is None:
                search = search or _Search(wait_s)
                lease = await self._acquire(target, search)
            else:
                self.counts.sticky += 1
            connection = lease.connection
            if connection is None or connection.closed:
                connection = await self._connect(lease, search := search or _Search(wait_s))
                if connection is None:
                    lease = None
                    continue
            result: asyncio.Future[tuple[ResultHeader, bytes]] = asyncio.get_running_loop().create_future()
            try:
                call = connection.invoke(
                    lease,
                    _header(target, invocation, lease, streamed=response is not None),
                    invocation.payload,
                    target.spec.timeout_s + INIT_TIMEOUT_S + MARGIN_S,
                    into(result),
                    response,
                )
            except NotSentError:
                self._leases.release(lease, GONE if lease.cold else UNCERTAIN)
                search = search or _Search(wait_s)
                search.failed(f"the connection to {lease.worker_id} was lost")
                lease = None
                continue
            try:
                header, payload = await result
            except asyncio.CancelledError:
                connection.cancel(call)
                raise
            except InvocationRefusedError as error:
                self.counts.refused += 1
                search = search or _Search(wait_s)
                search.refused(error, lease.worker_id)
                lease = None
                continue
            return _result(target, header, payload)

    def begin(self, target: InvokeTarget, invocation: Invocation, on_end: OnInvoked) -> Callable[[], None] | None:
        """The short way for what most invocations are: a lease is at hand and its worker connected. None, and nothing done,
        when it is not so: `invoke` finds a place then. What it returns cancels the invocation."""
        version = self._sticky.versions.get(target.spec.version_key)
        if version is None or version.revision != target.revision or version.closed:
            return None
        lease = self._sticky.take(version)
        if lease is None:
            return None
        connection = lease.connection
        if connection is None or connection.closed:
            self._leases.release(lease, UNCERTAIN)
            return None

        def on_result(header: ResultHeader | None, response: bytes, error: Exception | None) -> None:
            if header is not None:
                on_end(_result(target, header, response), None)
                return
            self.counts.refused += isinstance(error, InvocationRefusedError)
            on_end(None, error)

        header = _header(target, invocation, lease, streamed=False)
        try:
            call = connection.invoke(
                lease, header, invocation.payload, target.spec.timeout_s + INIT_TIMEOUT_S + MARGIN_S, on_result
            )
        except NotSentError:
            self._leases.release(lease, UNCERTAIN)
            return None
        self.counts.sticky += 1
        return functools.partial(connection.cancel, call)

    def _open_version(self, target: InvokeTarget) -> Version:
        known = self._sticky.versions.get(target.spec.version_key)
        if known is not None and known.revision > target.revision:
            raise StaleTargetError(f"revision {target.revision} is older than {known.revision}")
        return self._sticky.open(self._leases.version(target))

    async def _acquire(self, target: InvokeTarget, search: _Search) -> Lease:
        """A lease from Redis, waiting for room as long as the search may."""
        if self._closed:
            raise DispatchUnavailableError("the dispatcher is closed")
        while True:
            search.count_attempt()
            version = self._sticky.versions.get(target.spec.version_key)
            if version is None or version.closed or version.revision != target.revision:
                version = self._open_version(target)
            try:
                answer = await self._leases.acquire(version, search.avoid)
            except RedisError as error:
                await self._wait(search, DispatchUnavailableError(str(error)))
                continue
            if type(answer) is Lease:
                self._sticky.granted(answer)
                if answer.cold:
                    self.counts.cold += 1
                else:
                    self.counts.warm += 1
                # Whoever else waits may find room too; if not, its own attempt asks to be woken again.
                if self._waiting:
                    self._wake_one()
                return answer
            if type(answer) is Throttled:
                if answer.retry and not search.recalled:
                    search.recalled = True
                    await asyncio.sleep(RECALL_S)
                    continue
                self.counts.throttled += 1
                raise TooManyRequestsException(RESERVED_REASON if answer.reserved else ACCOUNT_REASON)
            if type(answer) is Stale:
                self.counts.stale += 1
                raise StaleTargetError(f"revision {target.revision} is older than {answer.revision}")
            if type(answer) is NoCapacity:
                self.counts.no_capacity += 1
                self._sticky.recall()
                await self._wait(search, search.last_failure or NoCapacityError("no worker has room"))
            elif type(answer) is Rebuilding:
                await self._wait(search, DispatchUnavailableError("the leases are being rebuilt"))

    async def _connect(self, lease: Lease, search: _Search) -> WorkerConnection | None:
        """The connection to the lease's worker; None after giving the lease back when there is none to be had."""
        try:
            connection = self._workers.get(lease.worker_id)
            if connection is None or connection.closed:
                connection = await self._workers.connect(lease.worker_id)
        except WorkerUnreachableError as error:
            self._leases.release(lease, GONE if lease.cold else UNCERTAIN)
            search.failed(f"a worker cannot be reached: {error}")
            search.avoid_worker(lease.worker_id)
            return None
        except BaseException:
            self._leases.release(lease, GONE if lease.cold else IDLE)
            raise
        lease.connection = connection
        return connection

    async def _wait(self, search: _Search, otherwise: DispatchError) -> None:
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
            function_id, _, revision = rest.decode().rpartition(" ")
            self._sticky.changed(function_id, int(revision))
        elif kind == b"epoch":
            self._sticky.recall()
            for _ in range(len(self._waiting)):
                self._wake_one()
        elif kind == b"rebuilding":
            self._sticky.recall()
        elif kind == b"lost":
            self._workers.forget(rest.decode())
        elif kind == b"urls" and self.on_urls_changed is not None:
            self.on_urls_changed(rest.decode())

    def _on_connected(self) -> None:
        # Messages may have been missed while there was no connection.
        if self.on_urls_changed is not None:
            self.on_urls_changed(None)
        self._sticky.recall()
        self._leases.repeat_releases()
        self._holder.connected()

    def _on_worker_lost(self, connection: WorkerConnection) -> None:
        self._sticky.lost(connection)


class _Search:
    """The search of one invocation for a place to run: how long it may take, what was tried."""

    __slots__ = ("_attempts", "_until", "avoid", "last_failure", "recalled")

    def __init__(self, wait_s: float) -> None:
        self._until = time.monotonic() + wait_s
        self._attempts = 0
        self.avoid = ""
        self.recalled = False
        self.last_failure: DispatchError | None = None

    def left_s(self) -> float:
        return self._until - time.monotonic()

    def count_attempt(self) -> None:
        self._attempts += 1
        if self._attempts > ATTEMPTS_MAX:
            raise self.last_failure or DispatchUnavailableError(f"no place to run it was found in {ATTEMPTS_MAX} attempts")

    def waited(self) -> None:
        """Waiting is bounded by time, not by attempts; and a worker that was avoided may be back."""
        self._attempts = max(0, self._attempts - 1)
        self.avoid = ""

    def failed(self, reason: str) -> None:
        self.last_failure = DispatchUnavailableError(reason)

    def refused(self, error: InvocationRefusedError, worker_id: str) -> None:
        refusal = error.refusal
        reason = f"a worker refused it: {refusal.reason}{f' ({refusal.detail})' if refusal.detail else ''}"
        if refusal.reason is RefusalReason.NO_ROOM:
            self.last_failure = NoCapacityError(reason)
        else:
            self.failed(reason)
        if refusal.reason in (RefusalReason.NO_ROOM, RefusalReason.DRAINING, RefusalReason.UNSUPPORTED_RUNTIME):
            self.avoid_worker(worker_id)

    def avoid_worker(self, worker_id: str) -> None:
        if f",{worker_id}," not in self.avoid:
            self.avoid = f"{self.avoid or ','}{worker_id},"


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _result(target: InvokeTarget, header: ResultHeader, payload: bytes) -> InvocationResult:
    return InvocationResult(
        payload,
        target.spec.version,
        header.function_error,
        header.log_tail,
        header.duration_ms,
        header.billed_ms,
        header.init_ms,
        header.max_memory_mb,
    )


def _header(target: InvokeTarget, invocation: Invocation, lease: Lease, *, streamed: bool) -> InvokeHeader:
    spec = target.spec
    return InvokeHeader(
        lease.epoch,
        lease.fence,
        lease.environment_id,
        spec.version_key,
        invocation.request_id,
        target.invoked_arn,
        int(time.time() * 1000) + (spec.timeout_s + INIT_TIMEOUT_S) * 1000 + int(MARGIN_S * 1000),
        len(invocation.payload),
        invocation.log_tail,
        invocation.client_context,
        invocation.trace,
        spec if lease.cold else None,
        (lease.victim,) if lease.victim else (),
        streamed=streamed,
    )
