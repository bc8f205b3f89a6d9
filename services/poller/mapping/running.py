"""One mapping while a poller runs it: the source, the delivery, and what is told about them."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from services.poller.mapping.delivery import RESULT_FAILED, BatchDelivery, Invoker
from services.poller.mapping.kafka_event import EventBuilder
from services.poller.sources.kafka import KafkaSource, SourceError
from shared.domain.errors import ConfigurationError, InvalidParameterValueException
from shared.domain.mappings import EventSourceMapping, MappingState
from shared.domain.mappings.catalogue import rules_of
from shared.domain.mappings.kafka import BUILT_IN_CLUSTER, kafka_cluster
from shared.domain.mappings.machine import MappingEvent, advance
from shared.domain.mappings.rules import NO_RECORDS
from shared.events.producer import BatchingProducer
from shared.events.records import Outcome, encode
from shared.events.supervision import keep_running, run_until
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.poller.mapping")

PROBLEM = "PROBLEM: "
CONFIGURATION_REASON = "ESM_CONFIG_NOT_VALID"
CHECK_PAUSE_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class MappingBook(Protocol):
    """What a poller reads and writes of the registry's mappings."""

    async def set_state(
        self,
        uuid: str,
        state: MappingState,
        reason: str,
        last_processing_result: str | None = None,
        *,
        revision: int | None = None,
    ) -> bool: ...

    async def set_last_result(self, uuid: str, last_processing_result: str) -> None: ...


def bootstrap_servers_of(mapping: EventSourceMapping, settings: Settings) -> str:
    """Where the mapping's cluster is. Raises ConfigurationError for an ARN whose cluster no setting names."""
    if mapping.source_arn is None:
        return ",".join(mapping.bootstrap_servers)
    name = kafka_cluster(mapping.source_arn)
    if name == BUILT_IN_CLUSTER:
        return settings.kafka_bootstrap_servers
    if name in settings.events.kafka_clusters:
        return settings.events.kafka_clusters[name]
    raise ConfigurationError(f"PROBLEM: No cluster is known for {mapping.source_arn}.")


class RunningMapping:
    """Runs an enabled mapping until told to stop; failures of the source are waited out and shown as the last result."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        settings: Settings,
        invoker: Invoker,
        book: MappingBook,
        producer: BatchingProducer,
    ) -> None:
        self.mapping = mapping
        self._settings = settings
        self._invoker = invoker
        self._book = book
        self._producer = producer
        self._outcomes = TopicNames.of(settings.events).outcomes
        self._state = mapping.state
        told = mapping.last_processing_result
        self._has_problem = told.startswith(PROBLEM) and told != RESULT_FAILED
        self._reason = mapping.state_reason
        self._told_result = mapping.last_processing_result
        self._result = self._told_result
        self._result_changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"mapping-{self.mapping.uuid}")

    async def stop(self) -> None:
        """Returns when nothing of it runs any more and its settled offsets are committed."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def abandon(self) -> None:
        """End it without telling anyone; returns when nothing of it runs any more."""
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(keep_running("mapping results", self._tell_results, self._stop))
            await keep_running(f"mapping {self.mapping.uuid}", self._poll, self._stop)
            telling.cancel()

    async def _poll(self) -> None:
        """One life of the source: from finding it to losing it."""
        try:
            servers = bootstrap_servers_of(self.mapping, self._settings)
            delivery = BatchDelivery(
                self.mapping,
                EventBuilder(self.mapping, servers),
                self._invoker,
                on_given_up=self._give_up,
                on_result=self._note_result,
            )
            source = KafkaSource(self.mapping, servers, delivery.deliver)
        except (ConfigurationError, InvalidParameterValueException) as error:
            await self._tell_problem(str(error), CONFIGURATION_REASON)
            # Nothing changes before its owner or the operator changes something: then this mapping is started anew.
            await self._stop.wait()
            return
        await run_until(self._stop, self._check(source))
        if not self._stop.is_set():
            await run_until(self._stop, source.run(self._polling))

    async def _check(self, source: KafkaSource) -> None:
        failures = 0
        while True:
            try:
                return await source.check()
            except SourceError as error:
                await self._tell_problem(str(error))
                await asyncio.sleep(CHECK_PAUSE_S[min(failures, len(CHECK_PAUSE_S) - 1)])
                failures += 1

    async def _polling(self) -> None:
        """The source gives what it has: a problem that was told is over."""
        state, reason = self._enabled(), rules_of(self.mapping.kind).state_reason
        result = NO_RECORDS if self._has_problem else None
        if state is self._state and self._reason == reason and result is None:
            return
        if await self._book.set_state(self.mapping.uuid, state, reason, result, revision=self.mapping.revision):
            self._state, self._reason, self._has_problem = state, reason, False
            if result is not None:
                self._result = self._told_result = result

    async def _tell_problem(self, problem: str, reason: str | None = None) -> None:
        """As on AWS the mapping is enabled all the same, and its last result says what is wrong.

        reason: one of AWS's codes where waiting does not help.
        """
        state, reason = self._enabled(), reason or rules_of(self.mapping.kind).state_reason
        if (state, reason, problem) == (self._state, self._reason, self._told_result):
            return
        log.warning("mapping %s: %s", self.mapping.uuid, problem)
        if await self._book.set_state(self.mapping.uuid, state, reason, problem, revision=self.mapping.revision):
            self._state, self._reason, self._has_problem = state, reason, True
            self._result = self._told_result = problem

    def _enabled(self) -> MappingState:
        state = advance(self._state, MappingEvent.POLLING)
        assert state is not None
        return state

    async def _give_up(self, outcome: Outcome) -> None:
        await self._producer.persist(self._outcomes, encode(outcome))

    def _note_result(self, text: str) -> None:
        if text != self._result:
            self._result = text
            self._result_changed.set()

    async def _tell_results(self) -> None:
        """Write LastProcessingResult when it changes, off the path of batches."""
        while True:
            await self._result_changed.wait()
            self._result_changed.clear()
            if self._result != self._told_result:
                told = self._result
                await self._book.set_last_result(self.mapping.uuid, told)
                self._told_result = told
            await asyncio.sleep(0.5)
