"""What the owner of a mapping is told of it while a poller runs it: its state, and the result of the last batch."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from services.poller.mapping.delivery import RESULT_FAILED
from shared.domain.mappings import EventSourceMapping, MappingState
from shared.domain.mappings.catalogue import rules_of
from shared.domain.mappings.machine import MappingEvent, advance
from shared.domain.mappings.rules import NO_RECORDS

log = logging.getLogger("lambdad.poller.mapping")

PROBLEM = "PROBLEM: "
RESULT_INTERVAL_S = 0.5


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


class MappingStatus:
    """Of one enabled mapping, as it was when a poller began to run it. Writes what is new and nothing else."""

    def __init__(self, mapping: EventSourceMapping, book: MappingBook) -> None:
        self._mapping = mapping
        self._book = book
        self._state = mapping.state
        self._reason = mapping.state_reason
        told = mapping.last_processing_result
        self._has_problem = told.startswith(PROBLEM) and told != RESULT_FAILED
        self._told = self._result = told
        self._is_lost = False
        self._changed = asyncio.Event()

    async def polling(self) -> None:
        """There is a place among the readers of the source: a problem that was told is over, unless it is that of a source that
        could not be read on from such a place."""
        if self._is_lost:
            return
        state, reason = self._enabled(), rules_of(self._mapping.kind).state_reason
        result = NO_RECORDS if self._has_problem else None
        if state is self._state and self._reason == reason and result is None:
            return
        if await self._book.set_state(self._mapping.uuid, state, reason, result, revision=self._mapping.revision):
            self._state, self._reason, self._has_problem = state, reason, False
            if result is not None:
                self._result = self._told = result

    async def read(self) -> None:
        """The source gave what it had."""
        if self._is_lost:
            self._is_lost = False
            await self.polling()

    async def lost(self, error: BaseException) -> None:
        """The source cannot be read on; it is tried again."""
        self._is_lost = True
        await self.problem(f"{PROBLEM}The event source cannot be read: {str(error) or type(error).__name__}")

    async def problem(self, text: str, reason: str | None = None) -> None:
        """As on AWS the mapping is enabled all the same, and its last result says what is wrong.

        reason: one of AWS's codes where waiting does not help.
        """
        state, reason = self._enabled(), reason or rules_of(self._mapping.kind).state_reason
        if (state, reason, text) == (self._state, self._reason, self._told):
            return
        log.warning("mapping %s: %s", self._mapping.uuid, text)
        if await self._book.set_state(self._mapping.uuid, state, reason, text, revision=self._mapping.revision):
            self._state, self._reason, self._has_problem = state, reason, True
            self._result = self._told = text

    def ran(self, result: str) -> None:
        """The text of LastProcessingResult after an invocation; written by `tell_results`, off the path of batches."""
        if result != self._result:
            self._result = result
            self._changed.set()

    async def tell_results(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._result != self._told:
                told = self._result
                await self._book.set_last_result(self._mapping.uuid, told)
                self._told = told
            await asyncio.sleep(RESULT_INTERVAL_S)

    def _enabled(self) -> MappingState:
        state = advance(self._state, MappingEvent.POLLING)
        assert state is not None
        return state
