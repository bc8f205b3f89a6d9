"""The one way to run a function: take a lease, send the invocation to its worker, hand the answer back."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence

from shared.dispatch.cell.cell import Cell
from shared.dispatch.cell.keys import check_instance_name
from shared.dispatch.cell.metrics import DispatchCounts
from shared.dispatch.client.run import OnEnd, Run
from shared.dispatch.wire.streaming import ResponseStream
from shared.domain.errors import ConfigurationError, DispatchUnavailableError
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.settings import Settings

CLOSED = "the dispatcher is closed"


class Dispatcher:
    """Runs invocations for one process. role: "frontend", "poller" or "router"; for logs and the handshake.

    Counts what it did in `counts`. Any number of invocations may run at once, on the loop that called `open`."""

    def __init__(self, settings: Settings, *, role: str) -> None:
        self._settings = settings
        self._role = role
        # Unique for each start: what an earlier life of this process held is given back by the scheduler, not mixed up.
        self.holder = check_instance_name(f"{settings.instance or role}.{uuid.uuid4().hex[:8]}")
        self.counts = DispatchCounts()
        self.searches: set[Run] = set()
        self.cells: tuple[Cell, ...] = ()
        self.only: Cell | None = None
        self.on_urls_changed: Callable[[str | None], None] | None = None
        """Told which function's URLs changed, None for any: what a cell's announcements say besides what concerns leases."""
        self._names = (settings.dispatch.cell,)
        self._closed = False

    async def open(self) -> None:
        """Connect in the background; returns at once when Redis answers, in a bounded time when it does not.

        Raises ConfigurationError without a cluster secret."""
        secret = self._settings.cluster_secret.get_secret_value().encode()
        if not secret:
            raise ConfigurationError("set LAMBDAD_CLUSTER_SECRET to the same secret for every process of the cluster")
        self.cells = tuple(
            Cell(
                self._settings,
                name,
                role=self._role,
                holder=self.holder,
                secret=secret,
                counts=self.counts,
                on_urls_changed=self._urls_changed,
            )
            for name in self._names
        )
        self.only = self.cells[0] if len(self.cells) == 1 else None
        await asyncio.gather(*(cell.open() for cell in self.cells))

    async def close(self) -> None:
        """Give every lease back and close the connections; what is in flight is lost. Bounded."""
        if self._closed:
            return
        self._closed = True
        self.only = None
        for run in list(self.searches):
            run.fail(DispatchUnavailableError(CLOSED))
        await asyncio.gather(*(cell.close() for cell in self.cells))

    def problem(self) -> str | None:
        """A health check: None, or why invocations cannot run now."""
        return next(filter(None, (cell.problem() for cell in self.cells)), None)

    @property
    def unsettled(self) -> int:
        """Leases that are held, or that Redis has not confirmed to have back."""
        return sum(cell.unsettled for cell in self.cells)

    def start(
        self,
        target: InvokeTarget,
        invocation: Invocation,
        on_end: OnEnd,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> Callable[[], None]:
        """Run one invocation; what it returns cancels it. wait_s bounds the wait for room, not the run. response: gets the
        response while it is written, if the function streams it; the result then has no payload but an error document, if any.

        on_end gets TooManyRequestsException, StaleTargetError, NoCapacityError, DispatchUnavailableError (in all of these
        nothing ran), ResponseLostError (it ran) or InvocationLostError (whether it ran is unknown)."""
        run = Run(self, target, invocation, on_end, wait_s, response)
        run.start()
        return run.cancel

    async def invoke(
        self, target: InvokeTarget, invocation: Invocation, *, wait_s: float, response: ResponseStream | None = None
    ) -> InvocationResult:
        """`start`, awaited: raises what on_end would get. Cancelling the caller cancels the invocation."""
        return await ended(lambda on_end: self.start(target, invocation, on_end, wait_s, response))

    def cell_of(self, target: InvokeTarget) -> Cell:
        """Where a function's leases are. Raises DispatchUnavailableError once closed."""
        if self._closed or not self.cells:
            raise DispatchUnavailableError(CLOSED)
        return self.cells[cell_number(target.spec.function_id, self._names)]

    def _urls_changed(self, function_id: str | None) -> None:
        if self.on_urls_changed is not None:
            self.on_urls_changed(function_id)


async def ended(start: Callable[[OnEnd], Callable[[], None]]) -> InvocationResult:
    """The end of what `start` starts, awaited."""
    result: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()

    def on_end(found: InvocationResult | None, error: Exception | None) -> None:
        if result.done():
            return
        if found is not None:
            result.set_result(found)
        elif error is not None:
            result.set_exception(error)

    cancel = start(on_end)
    try:
        return await result
    except asyncio.CancelledError:
        cancel()
        raise


def cell_number(function_id: str, names: Sequence[str]) -> int:
    """Which of the cells a function belongs to: the same for every process, and of one cell more only its share moves."""
    return max(range(len(names)), key=lambda number: hashlib.sha256(f"{names[number]}\n{function_id}".encode()).digest())
