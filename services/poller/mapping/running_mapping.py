"""One mapping while a poller runs it: a life of its source after the other, with pauses where one was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import Counter

from services.poller.mapping.contract import EventSource, Source, SourceError
from services.poller.mapping.delivery import BatchDelivery, Invoker
from services.poller.mapping.lag import LagMeter
from services.poller.mapping.lanes import Lanes
from services.poller.mapping.on_failure import OnFailure
from services.poller.mapping.starts import Starts
from services.poller.mapping.status import MappingBook, MappingStatus
from shared.domain.errors import ConfigurationError, InvalidParameterValueException
from shared.domain.mappings import EventSourceMapping
from shared.events.records import Outcome
from shared.events.supervision import FORESEEN, keep_running, run_until

SOURCE_FAILURES = Counter(
    "lambdad_mapping_source_failures_total", "Times that a mapping's source could not be read on and was opened anew", ["kind"]
)
CONFIGURATION_REASON = "ESM_CONFIG_NOT_VALID"
CHECK_PAUSE_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class RunningMapping:
    """Runs an enabled mapping until told to stop; failures of the source are waited out and shown as the last result."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        make_source: Callable[[], EventSource],
        invoker: Invoker,
        book: MappingBook,
        tell_outcome: Callable[[Outcome], Awaitable[None]],
        *,
        drain_s: float,
    ) -> None:
        """make_source: a fresh one for each life; raises ConfigurationError. tell_outcome: writes one durably. drain_s: how
        long batches that run may take to end when this stops."""
        self.mapping = mapping
        self._make_source = make_source
        self._invoker = invoker
        self._tell_outcome = tell_outcome
        self._drain_s = drain_s
        self._status = MappingStatus(mapping, book)
        self.lag = LagMeter(mapping.uuid)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"mapping-{self.mapping.uuid}")

    async def stop(self) -> None:
        """Returns when nothing of it runs any more and what it settled is durable."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def abandon(self) -> None:
        """End it at once, also while it stops; returns when nothing of it runs any more."""
        self._hurry.set()
        if self._task is not None:
            if not self._stop.is_set():
                self._task.cancel()
            self._stop.set()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(keep_running("mapping results", self._status.tell_results, self._stop))
            await keep_running(f"mapping {self.mapping.uuid}", self._poll, self._stop)
            telling.cancel()

    async def _poll(self) -> None:
        """One life of the source: from finding it to losing it."""
        try:
            opened = self._make_source()
            starts = Starts(opened.source.traits.in_flight_max)
            delivery = self._delivery(opened, starts)
            lanes: Lanes[Any] = Lanes(
                self.mapping, opened, delivery.deliver, self.lag, starts=starts, drain_s=self._drain_s, hurry=self._hurry
            )
        except (ConfigurationError, InvalidParameterValueException) as error:
            await self._status.problem(str(error), CONFIGURATION_REASON)
            # Nothing changes before its owner or the operator changes something: then this mapping is started anew.
            await self._stop.wait()
            return
        await run_until(self._stop, self._check(opened.source))
        if not self._stop.is_set():
            try:
                await run_until(self._stop, lanes.run(self._status.polling, self._status.read))
            except FORESEEN as error:
                SOURCE_FAILURES.labels(self.mapping.kind.value).inc()
                await self._status.lost(error)
                raise

    def _delivery(self, opened: EventSource, starts: Starts) -> BatchDelivery[Any]:
        on_failure: OnFailure[Any] = OnFailure(self.mapping, opened.format, self._tell_outcome)
        return BatchDelivery(
            self.mapping,
            opened.source.traits,
            opened.format,
            self._invoker,
            on_failure,
            on_result=self._status.ran,
            pause=starts.pause,
        )

    async def _check(self, source: Source[Any]) -> None:
        failures = 0
        while True:
            try:
                return await source.check()
            except SourceError as error:
                await self._status.problem(str(error))
                await asyncio.sleep(CHECK_PAUSE_S[min(failures, len(CHECK_PAUSE_S) - 1)])
                failures += 1
