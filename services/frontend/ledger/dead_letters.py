"""Messages of a dead-letter queue go back to the functions that they were for, each as a new event, and leave the queue.

A message leaves when its event is accepted. One that cannot go back stays, for whoever receives next, and it is said why; a
crash in between leaves both, as at-least-once allows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from services.frontend.ledger.documents import RedriveQueue
from shared.domain.arns import FunctionReference, Home, merge_qualifier, parse_function_reference, require_reachable
from shared.domain.destinations import is_function
from shared.domain.errors import ApiError, InvalidRequestContentException, ResourceNotFoundException, ServiceException
from shared.events.records import AsyncEvent
from shared.ledger import queries
from shared.ledger.answers import Redriven
from shared.ledger.queries import Asked, LedgerEvent
from shared.queues.errors import QueueError, QueueMissingError
from shared.queues.records import Attribute, QueueId, Received
from shared.registry.registry import Registry

VISIBILITY_S = 120
"""A message that stays is not met again by the same request."""
RECEIVED_AT_ONCE = 10
NO_FUNCTION = "nothing says which function it was for: name one"


class DeadLetterQueues(Protocol):
    """`shared.queues.Queues`."""

    async def receive(
        self, queue: QueueId, *, count_max: int = 1, visibility_s: int | None = None, wait_s: float | None = None
    ) -> list[Received]: ...

    async def delete(self, queue: QueueId, handles: Sequence[str]) -> object: ...

    async def change_visibility(self, queue: QueueId, changes: Sequence[tuple[str, int]]) -> object: ...


class Enqueue(Protocol):
    """`LedgerActions`."""

    async def enqueue(self, event: AsyncEvent, *, instead_of: str) -> str: ...

    async def told(self) -> None: ...


class Letter(msgspec.Struct, frozen=True):
    """What a message says. function: name or ARN with its qualifier, "" where it does not say."""

    request_id: str
    function: str
    payload: bytes


class _Context(msgspec.Struct, rename="camel"):
    request_id: str
    function_arn: str


class _Record(msgspec.Struct, rename="camel"):
    """The record of an invocation, as a destination on failure gets it."""

    request_context: _Context
    request_payload: msgspec.Raw


class _TopicAttribute(msgspec.Struct, rename="pascal"):
    value: str


class _Notification(msgspec.Struct, rename="pascal", tag_field="Type", tag="Notification"):
    """What a queue gets that subscribes to a topic of dead letters or records."""

    topic_arn: str
    message: str
    message_attributes: dict[str, _TopicAttribute] = {}


class DeadLetterRedrive:
    def __init__(self, queues: DeadLetterQueues, registry: Registry, actions: Enqueue) -> None:
        self._queues = queues
        self._registry = registry
        self._actions = actions

    async def redrive(self, asked: RedriveQueue, home: Home, most: int) -> list[Redriven]:
        """Of at most asked.max messages. Raises ApiError."""
        if not 1 <= asked.max <= most:
            raise InvalidRequestContentException(f"max is a number from 1 to {most}.")
        queue = _queue(asked.queue, home)
        done: list[Redriven] = []
        staying: list[str] = []
        try:
            while len(done) < asked.max:
                count = min(RECEIVED_AT_ONCE, asked.max - len(done))
                messages = await self._queues.receive(queue, count_max=count, visibility_s=VISIBILITY_S, wait_s=0)
                if not messages:
                    break
                done += await self._send_back(queue, messages, asked, home, staying)
            if staying:
                await self._queues.change_visibility(queue, [(handle, 0) for handle in staying])
        except QueueMissingError:
            raise ResourceNotFoundException(f"There is no queue {queue.name}.") from None
        except QueueError as error:
            raise ServiceException(f"The queue could not be read to its end: {error}") from error
        await self._actions.told()
        return done

    async def _send_back(
        self, queue: QueueId, messages: Sequence[Received], asked: RedriveQueue, home: Home, staying: list[str]
    ) -> list[Redriven]:
        """staying: gets the handles of those that cannot go back."""
        letters = [letter_of(message.body, message.attributes, message.message_id) for message in messages]
        async with self._registry.read() as connection:
            ids = tuple(letter.request_id for letter in letters)
            known = {event.event_id: event for event in await queries.find(connection, home, Asked(ids=ids), limit=len(ids))}
        done, accepted = [], []
        for message, letter in zip(messages, letters, strict=True):
            try:
                event = _event(letter, known.get(letter.request_id), asked, home)
                became = await self._actions.enqueue(event, instead_of=letter.request_id)
            except ApiError as error:
                done.append(Redriven(letter.request_id, None, error.message))
                staying.append(message.receipt_handle)
            else:
                done.append(Redriven(letter.request_id, became))
                accepted.append(message.receipt_handle)
        if accepted:
            await self._queues.delete(queue, accepted)
        return done


def letter_of(body: bytes, attributes: Mapping[str, Attribute], message_id: str) -> Letter:
    """A dead letter of a function or a rule, whose body is the event, or a destination's record of a failure; also by way of a
    topic."""
    found = _letter_of(body, {name: attribute.string_value or "" for name, attribute in attributes.items()}, message_id)
    if found is None:
        try:
            sent = msgspec.json.decode(body, type=_Notification)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            values = {name: attribute.value for name, attribute in sent.message_attributes.items()}
            found = _letter_of(sent.message.encode(), values, message_id)
    return found or Letter(message_id, "", body)


def _letter_of(body: bytes, values: Mapping[str, str], message_id: str) -> Letter | None:
    """Attributes say which it is: the event of a function that is a destination is a record, too. None for anything else."""
    target = values.get("TARGET_ARN", "")
    if values.keys() & {"RequestID", "TARGET_ARN"}:
        return Letter(values.get("RequestID") or message_id, target if is_function(target) else "", body)
    try:
        record = msgspec.json.decode(body, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Letter(record.request_context.request_id, record.request_context.function_arn, bytes(record.request_payload))


def _event(letter: Letter, known: LedgerEvent | None, asked: RedriveQueue, home: Home) -> AsyncEvent:
    """Raises ApiError."""
    name, qualifier = "", None
    if asked.function or letter.function:
        reference: FunctionReference = parse_function_reference(asked.function or letter.function)
        require_reachable(reference, home)
        name, qualifier = reference.name, merge_qualifier(reference, None)
    elif known is not None:
        name, qualifier = known.function_name, known.qualifier
    if not name:
        raise InvalidRequestContentException(NO_FUNCTION)
    qualifier = asked.qualifier or qualifier
    return AsyncEvent("", name, qualifier, letter.payload, time.time_ns() // 1_000_000, region=home.region)


def _queue(text: str, home: Home) -> QueueId:
    if not text.startswith("arn:"):
        return QueueId(home, text)
    try:
        queue = QueueId.of_arn(text)
    except ValueError as error:
        raise InvalidRequestContentException(str(error)) from None
    if queue.home != home:
        raise InvalidRequestContentException(f"{text} is a queue of another account or region.")
    return queue
