"""Which mappings this poller runs: follows the registry, starts what is to run and stops what is not.

Every poller runs every enabled mapping of a kind that `sources/catalogue.py` has; the source itself spreads its lanes over
them (Kafka by consumer groups). Mappings of the other kinds reach the state that their owner asked for, and say that nothing
reads them yet where AWS has no other text in that place.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Protocol

from prometheus_client import Gauge

from services.poller.mapping.delivery import Invoker, attempt_s_max
from services.poller.mapping.running_mapping import RunningMapping
from services.poller.mapping.status import MappingBook
from services.poller.sources.catalogue import OPENERS, Opener, opener_of
from shared.domain.errors import LambdadError
from shared.domain.mappings import EventSourceMapping, MappingState, SourceKind
from shared.domain.mappings.catalogue import rules_of
from shared.domain.mappings.machine import IllegalTransitionError, MappingEvent, advance
from shared.events.producer import BatchingProducer
from shared.events.records import Outcome, encode
from shared.events.supervision import keep_running, run_until
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.assignment")

RUNNING = Gauge("lambdad_mappings_running", "Event source mappings that this poller runs")
UNREAD = Gauge("lambdad_mappings_unread", "Enabled event source mappings whose kind of source nothing reads yet", ["kind"])


class MappingSource(MappingBook, Protocol):
    """The registry's mappings."""

    async def list_all(self) -> list[EventSourceMapping]: ...

    def changes(self) -> AsyncIterator[None]: ...

    async def delete(self, uuid: str) -> bool: ...


class MappingManager:
    """Runs the mappings of the registry until it is stopped."""

    def __init__(self, settings: Settings, source: MappingSource, invoker: Invoker, producer: BatchingProducer) -> None:
        self._settings = settings
        self._source = source
        self._invoker = invoker
        self._producer = producer
        self._outcomes = TopicNames.of(settings.events).outcomes
        self._running: dict[str, RunningMapping] = {}
        self._leaving: dict[str, RunningMapping] = {}
        self._stops: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        self._reconciling = asyncio.Lock()
        self._followed = False

    def problem(self) -> str | None:
        """For readiness: None once the registry's mappings are known."""
        return None if self._followed else "the mappings are not known yet"

    def details(self) -> dict[str, dict[str, int | None]]:
        """For health: the mappings that run here, and how many records of their source are not done with (None: not known)."""
        return {uuid: {"lag_records": running.lag.records} for uuid, running in self._running.items()}

    async def run(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep_running("mapping manager", lambda: run_until(stop, self._follow()), stop))
                group.create_task(keep_running("leaving mappings", lambda: run_until(stop, self._follow_leaving()), stop))
            for uuid in list(self._running):
                self._leave(uuid)
            if self._stops:
                await asyncio.wait(self._stops, timeout=self._settings.events.drain_timeout_s)
        finally:
            # Cancelled, or out of time: nothing that was started here may go on alone.
            left = [*self._running.values(), *self._leaving.values()]
            await asyncio.gather(*(running.abandon() for running in left), return_exceptions=True)
            await asyncio.gather(*self._stops, return_exceptions=True)

    async def _follow(self) -> None:
        async for _ in self._source.changes():
            await self._reconcile()
            self._followed = True

    async def _follow_leaving(self) -> None:
        while True:
            await self._left.wait()
            self._left.clear()
            try:
                await self._reconcile()
            except BaseException:
                # Nothing else looks again before a mapping changes: what has left is still to be seen to.
                self._left.set()
                raise

    async def _reconcile(self) -> None:
        async with self._reconciling:
            await self._follow_up(await self._source.list_all())

    async def _follow_up(self, mappings: list[EventSourceMapping]) -> None:
        known = {mapping.uuid: mapping for mapping in mappings}
        for uuid, running in list(self._running.items()):
            mapping = known.get(uuid)
            if mapping is None or not _is_wanted(mapping) or mapping.revision != running.mapping.revision:
                self._leave(uuid)
        for mapping in mappings:
            if mapping.uuid in self._leaving:
                continue  # Its batches end first, which may take as long as its function may: then this comes again.
            if _is_wanted(mapping):
                opener = opener_of(mapping)
                if opener is None:
                    await self._settle_unread(mapping)
                elif mapping.uuid not in self._running:
                    self._start(mapping, opener)
            else:
                await self._settle_stopped(mapping)
        RUNNING.set(len(self._running))
        unread = Counter(mapping.kind for mapping in mappings if _is_wanted(mapping))
        for kind in set(SourceKind) - set(OPENERS):
            UNREAD.labels(kind.value).set(unread[kind])

    def _start(self, mapping: EventSourceMapping, opener: Opener) -> None:
        running = RunningMapping(
            mapping,
            lambda: opener(mapping, self._settings),
            self._invoker,
            self._source,
            self._tell_outcome,
            drain_s=attempt_s_max(self._settings),
        )
        self._running[mapping.uuid] = running
        running.start()

    async def _tell_outcome(self, outcome: Outcome) -> None:
        await self._producer.persist(self._outcomes, encode(outcome))

    async def _settle_unread(self, mapping: EventSourceMapping) -> None:
        """Its state is AWS's. Streams keep AWS's text for a mapping that got nothing, which is true; the others tell why."""
        try:
            state = advance(mapping.state, MappingEvent.POLLING)
        except IllegalTransitionError as error:
            log.error("mapping %s is left alone: %s", mapping.uuid, error)
            return
        if state is None or state is mapping.state:
            return
        log.warning("mapping %s is kept, but sources of kind %s are not read yet", mapping.uuid, mapping.kind.value)
        rules = rules_of(mapping.kind)
        await self._source.set_state(mapping.uuid, state, rules.state_reason, rules.unread_result, revision=mapping.revision)

    async def _settle_stopped(self, mapping: EventSourceMapping) -> None:
        """A mapping that does not run here any more reaches its end state."""
        try:
            state = advance(mapping.state, MappingEvent.STOPPED)
        except IllegalTransitionError as error:
            log.error("mapping %s is left alone: %s", mapping.uuid, error)
            return
        if state is None:
            await self._source.delete(mapping.uuid)
        elif state is not mapping.state:
            reason = rules_of(mapping.kind).state_reason
            await self._source.set_state(mapping.uuid, state, reason, revision=mapping.revision)

    def _leave(self, uuid: str) -> None:
        """Stop a mapping beside everything else; what its owner wants of it now is done once it has stopped."""
        running = self._leaving[uuid] = self._running.pop(uuid)
        stopping = asyncio.create_task(self._stop(running), name=f"leaving-{uuid}")
        self._stops.add(stopping)
        stopping.add_done_callback(self._stops.discard)

    async def _stop(self, running: RunningMapping) -> None:
        uuid = running.mapping.uuid
        try:
            await running.stop()
        except LambdadError:
            pass
        except Exception as error:
            log.error("mapping %s ended badly: %r", uuid, error)
        finally:
            del self._leaving[uuid]
            self._left.set()


def _is_wanted(mapping: EventSourceMapping) -> bool:
    return mapping.enabled and mapping.state is not MappingState.DELETING
