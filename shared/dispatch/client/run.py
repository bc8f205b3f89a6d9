"""One invocation under way, as its caller's process holds it: from `start` until it is told how it ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from shared.dispatch.cell.leases import STARTS_AHEAD, Lease
from shared.dispatch.cell.metrics import DispatchCounts
from shared.dispatch.cell.search import Search
from shared.dispatch.wire.connection import Call, InvocationRefusedError, NotSentError, WorkerConnection
from shared.dispatch.wire.messages import InvokeHeader, ResultHeader
from shared.dispatch.wire.streaming import ResponseStream
from shared.domain.errors import ApiError, StaleTargetError
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import INIT_TIMEOUT_S
from shared.domain.provisioned import init_limit_s

log = logging.getLogger("lambdad.dispatch")

MARGIN_S = 5.0
"""What a worker gets beyond a function's timeout and initialisation: to fetch its code, to kill it, to answer."""

OnEnd = Callable[[InvocationResult | None, Exception | None], None]
"""Gets an invocation's result, or why there is none. Called exactly once, from the loop and never before `start` has returned;
it must not raise. After the invocation was cancelled it is not called any more."""


class Places(Protocol):
    """Where leases of a function come from: its cell or, for environments that are started ahead, the scheduler."""

    def take(self, target: InvokeTarget) -> Lease | None:
        """One that is at hand."""

    async def find(self, target: InvokeTarget, search: Search) -> Lease:
        """One whose worker is connected. What it raises ends the run, but for StaleTargetError."""


class Cells(Protocol):
    """What a run belongs to. searches: those that have a task. only: the places of every function, as long as there are no
    others."""

    counts: DispatchCounts
    searches: set[Run]

    @property
    def only(self) -> Places | None: ...

    def cell_of(self, target: InvokeTarget) -> Places: ...


class Run:
    """An invocation or, where its lease says so, the start of an environment ahead of any.

    Sent at once where a lease is at hand; otherwise one task searches for a place, and sends. A worker that refuses it sets
    off the next search: whoever waits for its end never hears of that, unless it is for the package, which all would refuse.

    A run has no task while it is sent, and none at all where a lease was at hand: that is what most are."""

    __slots__ = (
        "_call",
        "_cells",
        "_connection",
        "_invocation",
        "_on_end",
        "_response",
        "_search",
        "_searching",
        "_target",
        "_wait_s",
    )

    def __init__(
        self,
        cells: Cells,
        target: InvokeTarget | None,
        invocation: Invocation,
        on_end: OnEnd,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> None:
        self._cells = cells
        self._target = target
        self._invocation = invocation
        self._on_end = on_end
        self._wait_s = wait_s
        self._response = response
        self._search: Search | None = None
        self._searching: asyncio.Task[None] | None = None
        self._connection: WorkerConnection[Lease] | None = None
        self._call: Call[Lease] | None = None

    def start(self) -> None:
        """Never raises, and on_end is not called before it has returned."""
        target = self._target
        if target is not None:
            try:
                cell = self._cells.only or self._cells.cell_of(target)
                lease = cell.take(target)
                if lease is not None and self._send(target, lease):
                    self._cells.counts.sticky += 1
                    return
            except Exception as error:
                asyncio.get_running_loop().call_soon(self._end, None, error)
                return
        self._search_on()

    def cancel(self) -> None:
        """Nobody waits for it any more. A worker that runs it is told to stop it; its lease comes back by itself."""
        self._on_end = _nobody
        if self._searching is not None:
            self._stop_search(self._searching)
        elif self._call is not None and self._connection is not None:
            self._connection.cancel(self._call)

    def fail(self, error: Exception) -> None:
        """End a search from outside."""
        if self._searching is not None:
            self._stop_search(self._searching)
        self._end(None, error)

    # What a run of a function by its name does otherwise

    async def _resolve(self) -> InvokeTarget:
        raise NotImplementedError

    def _outdated(self, error: StaleTargetError) -> None:
        """The target is older than what the cell has heard of. Raises it where there is no way to a newer one."""
        raise error

    # The search

    def _search_on(self) -> None:
        self._searching = asyncio.get_running_loop().create_task(self._find_and_send())
        self._cells.searches.add(self)

    def _stop_search(self, searching: asyncio.Task[None]) -> None:
        searching.cancel()
        # Here, for a task that is cancelled before its first step never takes one.
        self._searching = None
        self._cells.searches.discard(self)

    async def _find_and_send(self) -> None:
        failure: Exception | None = None
        try:
            while not await self._found_and_sent():
                pass
        except Exception as error:
            failure = error
        finally:
            self._searching = None
            self._cells.searches.discard(self)
        if failure is not None:
            self._end(None, failure)

    async def _found_and_sent(self) -> bool:
        target = self._target
        if target is None:
            target = self._target = await self._resolve()
        search = self._search
        if search is None:
            search = self._search = Search(self._wait_s)
        try:
            lease = await self._cells.cell_of(target).find(target, search)
        except StaleTargetError as error:
            self._outdated(error)
            self._target = None
            return False
        if self._send(target, lease):
            return True
        search.failed(f"the connection to {lease.worker_id} was lost")
        return False

    # Sending, and the end

    def _send(self, target: InvokeTarget, lease: Lease) -> bool:
        """False when the lease's worker is not connected any more. The connection gives the lease back. Raises WireError."""
        connection, response, invocation, spec = lease.connection, self._response, self._invocation, target.spec
        assert connection is not None
        if response is not None:
            response.executed_version = spec.version
        ahead = lease.pool == STARTS_AHEAD
        limit_s = (init_limit_s(spec.timeout_s) if ahead else spec.timeout_s) + INIT_TIMEOUT_S + MARGIN_S
        header = InvokeHeader(
            lease.epoch,
            lease.fence,
            lease.environment_id,
            spec.version_key,
            invocation.request_id,
            target.invoked_arn,
            int((time.time() + limit_s) * 1000),
            len(invocation.payload),
            invocation.log_tail,
            invocation.client_context,
            invocation.trace,
            spec if lease.cold else None,
            lease.victims,
            ahead,
            response is not None,
        )
        try:
            self._call = connection.invoke(lease, header, invocation.payload, limit_s, self._on_result, response)
        except NotSentError:
            return False
        self._connection = connection
        return True

    def _on_result(self, header: ResultHeader | None, payload: bytes, error: Exception | None) -> None:
        call, self._call = self._call, None
        if header is not None:
            assert self._target is not None
            on_end, self._on_end = self._on_end, _nobody
            on_end(_result(self._target, header, payload), None)
        elif type(error) is InvocationRefusedError:
            self._cells.counts.refused += 1
            if self._on_end is _nobody or call is None:
                return
            search = self._search
            if search is None:
                search = self._search = Search(self._wait_s)
            try:
                search.refused(error.refusal, call.lease.worker_id)
            except ApiError as final:
                self._end(None, final)
                return
            self._search_on()
        else:
            self._end(None, error)

    def _end(self, result: InvocationResult | None, error: Exception | None) -> None:
        on_end, self._on_end = self._on_end, _nobody
        try:
            on_end(result, error)
        except Exception:
            log.exception("an invocation's end could not be dealt with")


def _nobody(result: InvocationResult | None, error: Exception | None) -> None:
    """Nobody waits any more."""


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
