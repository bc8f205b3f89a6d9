"""How a service tells the ledger: entries are collected for a moment and leave as one record of Kafka.

Whoever tells something may have a function called once every in-sync replica has it. Pollers settle an event's offset there:
an event whose end never reached the ledger is run again, and tells it again, so that none is missing and none stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import Counter, Gauge

from shared.events.producer import BatchingProducer
from shared.events.topics import TopicNames
from shared.ledger.records import ERROR_CHARS_MAX, Batch, EventEntry, Status, StepEntry, StepKind, encode_batch
from shared.settings import Settings

TOLD = Counter("lambdad_ledger_told_total", "Entries that were written to the ledger's topic")
UNWRITTEN = Gauge("lambdad_ledger_unwritten", "Entries that are on their way to the ledger's topic")

FLUSH_S = 0.05
BATCH_ENTRIES_MAX = 1_000
ENTRIES_MAX = 20_000
"""On their way at one time; whoever tells more waits for room."""

OnWritten = Callable[[], None]
"""Must not raise."""


class LedgerWriter:
    """Of one process. `flush` before the producer is closed."""

    def __init__(self, settings: Settings, producer: BatchingProducer) -> None:
        self._topic = TopicNames.of(settings.events).ledger
        self._producer = producer
        self._loop = asyncio.get_running_loop()
        self._functions: dict[str, int] = {}
        self._events: list[EventEntry] = []
        self._steps: list[StepEntry] = []
        self._on_written: list[OnWritten] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._unwritten = 0
        self._room = asyncio.Event()
        self._room.set()
        UNWRITTEN.set_function(lambda: self._unwritten)

    def event(
        self,
        function_arn: str,
        event_id: str,
        qualifier: str | None,
        status: Status,
        accepted_at_ms: int,
        at_ms: int,
        partition: int,
        offset: int,
        attempts: int = 0,
        started_at_ms: int = 0,
        version: str = "",
        reason: str = "",
        next_at_ms: int = 0,
        error: str = "",
        *,
        on_written: OnWritten | None = None,
    ) -> None:
        """How an event stands: see EventEntry. function_arn: without qualifier."""
        functions = self._functions
        function = functions.get(function_arn)
        if function is None:
            function = functions[function_arn] = len(functions)
        self._events.append(
            EventEntry(
                event_id,
                function,
                qualifier,
                status,
                accepted_at_ms,
                at_ms,
                partition,
                offset,
                attempts,
                started_at_ms,
                version,
                reason,
                next_at_ms,
                error[:ERROR_CHARS_MAX],
            )
        )
        self._added(on_written)

    def step(
        self,
        event_id: str,
        kind: StepKind,
        at_ms: int,
        *,
        target: str = "",
        detail: str = "",
        source: str = "",
        on_written: OnWritten | None = None,
    ) -> None:
        """What else happened: see StepEntry."""
        self._steps.append(StepEntry(event_id, at_ms, kind, target, detail[:ERROR_CHARS_MAX], source))
        self._added(on_written)

    async def wait_for_room(self) -> None:
        """Returns at once while less than ENTRIES_MAX entries are on their way. They leave as soon as Kafka takes them."""
        await self._room.wait()

    async def flush(self) -> None:
        """Returns when all that was told so far is written. The caller holds the deadline."""
        self._leave()
        if self._writing:
            await asyncio.wait(set(self._writing))

    def _added(self, on_written: OnWritten | None) -> None:
        if on_written is not None:
            self._on_written.append(on_written)
        self._unwritten += 1
        if self._unwritten >= ENTRIES_MAX:
            self._room.clear()
        if len(self._events) + len(self._steps) >= BATCH_ENTRIES_MAX:
            self._leave()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._leave)

    def _leave(self) -> None:
        """What was collected becomes a record."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._events and not self._steps:
            return
        batch = Batch(list(self._functions), self._events, self._steps)
        on_written, self._on_written = self._on_written, []
        self._functions, self._events, self._steps = {}, [], []
        task = self._loop.create_task(self._write(batch, on_written))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, batch: Batch, on_written: list[OnWritten]) -> None:
        count = len(batch.events) + len(batch.steps)
        try:
            await self._producer.persist(self._topic, encode_batch(batch))
            TOLD.inc(count)
            for told in on_written:
                told()
        finally:
            self._unwritten -= count
            if self._unwritten < ENTRIES_MAX:
                self._room.set()
