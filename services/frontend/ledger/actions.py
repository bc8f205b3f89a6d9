"""What can still be done with an event: run it again as a new one, take it back before it runs, try it on another version."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from shared.domain.errors import ApiError, InvalidRequestContentException, ResourceConflictException, ServiceException
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.producer import ProduceError
from shared.events.queue import AsyncQueue
from shared.events.records import AsyncEvent
from shared.events.topics import TopicNames
from shared.ledger.answers import Answer, Redriven, Replayed
from shared.ledger.cancelling import encode_cancelled
from shared.ledger.errors import error_line
from shared.ledger.queries import LedgerEvent
from shared.ledger.records import StepKind
from shared.ledger.stored import StoredEvents
from shared.ledger.writer import LedgerWriter
from shared.settings import Settings

FLUSH_S = 10.0
AT_ONCE = 50
RECORDED = "recorded"
NOT_STORED = "Kafka does not have it any more"


class Invoker(Protocol):
    """`shared.dispatch.client.invoker.FunctionInvoker`."""

    async def invoke(
        self, function_arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> InvocationResult: ...


class Resolver(Protocol):
    """`services.frontend.invoke.targets.InvocableResolver`."""

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget: ...


class RequestIds(Protocol):
    def __call__(self) -> str: ...


class LedgerActions:
    """queue: where events go to be run again. ledger: what is done is told of there."""

    def __init__(
        self,
        settings: Settings,
        queue: AsyncQueue,
        ledger: LedgerWriter,
        invoker: Invoker,
        resolver: Resolver,
        request_ids: RequestIds,
    ) -> None:
        self._settings = settings
        self._cancellations = TopicNames.of(settings.events).cancellations
        self._queue = queue
        self._ledger = ledger
        self._invoker = invoker
        self._resolver = resolver
        self._request_ids = request_ids

    async def redrive(self, events: Sequence[LedgerEvent], qualifier: str | None) -> list[Redriven]:
        """Each becomes a new event with an id of its own. qualifier: what to run, the event's own when None."""
        async with StoredEvents(self._settings) as reader:
            stored = await reader.read(events)
        done: list[Redriven] = []
        for begin in range(0, len(events), AT_ONCE):
            some = events[begin : begin + AT_ONCE]
            done += await asyncio.gather(*(self._redrive(event, stored.get(event.event_id), qualifier) for event in some))
        await self._told()
        return done

    async def enqueue(self, event: AsyncEvent, *, instead_of: str) -> str:
        """The id of a new event with the same payload; both are told of the other. Raises ApiError."""
        new_id = self._request_ids()
        await self._resolver.resolve(event.function_arn(self._settings.home), event.qualifier)
        at_ms = _now_ms()
        await self._queue.enqueue(
            AsyncEvent(new_id, event.function_name, event.qualifier, event.payload, at_ms, region=event.region)
        )
        self._ledger.step(instead_of, StepKind.REDRIVEN, at_ms, target=new_id)
        self._ledger.step(new_id, StepKind.REDRIVE_OF, at_ms, target=instead_of)
        return new_id

    async def told(self) -> None:
        """What was done is in the ledger's topic."""
        await self._told()

    async def _redrive(self, event: LedgerEvent, stored: AsyncEvent | None, qualifier: str | None) -> Redriven:
        if stored is None:
            return Redriven(event.event_id, None, NOT_STORED)
        if not event.status.ended:
            return Redriven(event.event_id, None, f"it is {event.status.label}")
        if qualifier is not None:
            stored = msgspec.structs.replace(stored, qualifier=qualifier)
        try:
            return Redriven(event.event_id, await self.enqueue(stored, instead_of=event.event_id))
        except ApiError as error:
            return Redriven(event.event_id, None, error.message)

    async def cancel(self, events: Sequence[LedgerEvent]) -> list[str]:
        """Ids of those that will not be run, unless they run already: what becomes of them the ledger says when a poller meets
        them. Raises ServiceException."""
        ids = [event.event_id for event in events if not event.status.ended]
        if ids:
            try:
                await self._queue.producer.send(self._cancellations, encode_cancelled(ids))
            except ProduceError as error:
                raise ServiceException("The cancellation could not be written. Try again.") from error
            at_ms = _now_ms()
            for event_id in ids:
                self._ledger.step(event_id, StepKind.CANCEL_ASKED, at_ms)
            await self._told()
        return ids

    async def replay(self, event: LedgerEvent, version: str, against: str | None) -> Replayed:
        """Run the stored event synchronously by another version, under its own request id: each run is one attempt more at it,
        and an answer that tells the id tells the same. Raises ApiError."""
        async with StoredEvents(self._settings) as reader:
            stored = (await reader.read([event])).get(event.event_id)
        if stored is None:
            raise ResourceConflictException(f"Event {event.event_id} cannot be run: {NOT_STORED}.")
        if against is None and event.error is not None:
            against = RECORDED
        if against == RECORDED:
            if event.error is None:
                raise InvalidRequestContentException("Only errors are recorded: name a version to compare with.")
            before = Answer(event.version or "", None, "Unhandled", event.error)
        else:
            before = await self._run(stored, against or event.version or event.qualifier)
        after = await self._run(stored, version)
        same = _comparable(before) == _comparable(after)
        said = "the same answer" if same else "another answer"
        self._ledger.step(event.event_id, StepKind.REPLAYED, _now_ms(), target=version, detail=said)
        await self._told()
        return Replayed(event.event_id, same, before, after)

    async def _run(self, event: AsyncEvent, qualifier: str | None) -> Answer:
        arn = event.function_arn(self._settings.home)
        await self._resolver.resolve(arn, qualifier)
        invocation = Invocation(event.event_id, event.payload)
        result = await self._invoker.invoke(arn, qualifier, invocation, wait_s=self._settings.frontend.queue_wait_s)
        return Answer(
            qualifier or "$LATEST", result.executed_version, result.function_error, result.payload.decode(errors="replace")
        )

    async def _told(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._ledger.flush()
        except TimeoutError:
            raise ServiceException("It was done, and could not be written down yet: Kafka does not answer.") from None


def _comparable(answer: Answer) -> object:
    """Answers are compared as documents; an error by what the ledger keeps of it."""
    if answer.function_error is not None:
        return error_line(answer.payload.encode())
    try:
        return msgspec.json.decode(answer.payload)
    except msgspec.DecodeError:
        return answer.payload


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
