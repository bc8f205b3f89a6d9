"""The requests of `/_lambdad/events`: signed as Lambda's are, for the account's events in the region of the signature."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from services.frontend.edge.answers import Scope, Send, log, send_error, translate
from services.frontend.edge.bodies import ClientGoneError, Receive
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import Limit, RequestReader
from services.frontend.ledger import documents
from services.frontend.ledger.actions import LedgerActions
from services.frontend.ledger.dead_letters import DeadLetterRedrive
from shared.aws.routing import parse_query
from shared.domain.arns import Home
from shared.domain.errors import (
    ApiError,
    InvalidRequestContentException,
    RequestTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
)
from shared.domain.limits import INIT_TIMEOUT_S
from shared.ledger import deliveries, queries
from shared.ledger.answers import Cancelling, Counted, Left, Listed, ListedDeliveries, Redriven, RedrivenAll, Shown
from shared.ledger.deliveries import DeliveryPosition
from shared.ledger.joining import as_uuid
from shared.ledger.queries import Asked, LedgerEvent, Position
from shared.ledger.stored import StoredEvents
from shared.registry.registry import Registry
from shared.settings import Settings

PATH = "/_lambdad/events"
BODY_BYTES_MAX = 64 * 1024
TIMEOUT_S = 60.0
"""Besides what functions that are replayed take."""
ACTED_ON_MAX = 1_000
"""Events of one request that are run again or cancelled; more are asked for again."""
UNKNOWN = "the ledger has nothing of it"
_EVENT = re.compile(r"/([^/]{1,200})(?:/(redrive|cancel|replay|payload))?")

T = TypeVar("T")
Query = Mapping[str, list[str]]


class LedgerApp:
    """Answers are JSON: shared/ledger/answers.py."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        reader: RequestReader,
        request_ids: RequestIds,
        actions: LedgerActions,
        dead_letters: DeadLetterRedrive,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._reader = reader
        self._request_ids = request_ids
        self._actions = actions
        self._dead_letters = dead_letters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._request_ids()
        try:
            claimed = self._reader.claim(scope)
            signed = await claimed.read(receive, Limit(BODY_BYTES_MAX, _too_large))
            query = parse_query(scope["query_string"].decode("latin-1").replace("+", "%20"))
            rest = unquote(scope["path"])[len(PATH) :]
            async with asyncio.timeout(self._timeout_s(rest)):
                answer = await self._answer(scope["method"], rest, query, signed.body, signed.home)
        except ClientGoneError:
            return
        except Exception as error:
            found = translate(error)
            if found is None:
                log.exception("%s %s (%s) failed", scope["method"], scope["path"], request_id)
                found = ServiceException("An internal error occurred.")
            await send_error(send, found, request_id)
            return
        body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        kind = b"application/octet-stream" if isinstance(answer, bytes) else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"x-amzn-requestid", request_id.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _timeout_s(self, rest: str) -> float:
        """A replay runs two functions, one after the other, as long as functions may run."""
        run_s = self._settings.functions.timeout_s_max + self._settings.frontend.queue_wait_s + INIT_TIMEOUT_S
        return TIMEOUT_S + (2 * run_s if rest.endswith("/replay") else 0)

    async def _answer(self, method: str, rest: str, query: Query, body: bytes, home: Home) -> object:
        """Raises ApiError."""
        whole: dict[tuple[str, str], Callable[[], Awaitable[object]]] = {
            ("GET", ""): lambda: self._list(query, home),
            ("GET", "/deliveries"): lambda: self._list_deliveries(query, home),
            ("GET", "/count"): lambda: self._count(query, home),
            ("POST", "/redrive"): lambda: self._redrive(_read(body, documents.Redrive), home),
            ("POST", "/cancel"): lambda: self._cancel(_read(body, documents.Cancel), home),
            ("POST", "/redrive-queue"): lambda: self._redrive_queue(_read(body, documents.RedriveQueue), home),
        }
        if (method, rest) in whole:
            return await whole[(method, rest)]()
        match = _EVENT.fullmatch(rest)
        if match is None or method != ("GET" if match[2] in (None, "payload") else "POST"):
            raise ResourceNotFoundException(f"There is nothing at {method} {PATH}{rest}")
        event_id, action = match.groups()
        if action is None:
            return await self._show(event_id, home)
        found = await self._events(home, Asked(ids=(event_id,)), 1)
        if not found:
            raise _unknown(event_id)
        [event] = found
        if action == "payload":
            return await self._payload(event)
        if action == "replay":
            asked = _read(body, documents.Replay)
            return await self._actions.replay(event, asked.version, asked.against)
        if action == "redrive":
            [redriven] = await self._actions.redrive([event], _read(body or b"{}", _Qualified).qualifier)
            return redriven
        if event.status.ended:
            raise ResourceConflictException(f"Event {event_id} {_ended(event)}")
        return Cancelling(await self._actions.cancel([event]))

    async def _list(self, query: Query, home: Home) -> Listed:
        limit, after = documents.limit_of(query), documents.after_of(query, Position)
        asked = documents.filter_of(query).asked(home)
        async with self._registry.read() as connection:
            found = await queries.find(connection, home, asked, limit=limit, after=after)
            steps = await queries.steps_of(connection, [event.event_id for event in found])
        listed = [documents.event_document(event, steps.get(event.event_id, [])) for event in found]
        return Listed(listed, documents.after(found[-1].position) if len(found) == limit else None)

    async def _list_deliveries(self, query: Query, home: Home) -> ListedDeliveries:
        limit, after = documents.limit_of(query), documents.after_of(query, DeliveryPosition)
        asked = documents.deliveries_asked(query)
        async with self._registry.read() as connection:
            found = await deliveries.find(connection, home, asked, limit=limit, after=after)
        listed = [documents.delivery_document(delivery) for delivery in found]
        return ListedDeliveries(listed, documents.after(found[-1].position) if len(found) == limit else None)

    async def _count(self, query: Query, home: Home) -> Counted:
        asked = documents.filter_of(query).asked(home)
        async with self._registry.read() as connection:
            return Counted(await queries.count(connection, home, asked))

    async def _show(self, event_id: str, home: Home) -> Shown:
        async with self._registry.read() as connection:
            found = await queries.find(connection, home, Asked(ids=(event_id,)), limit=1)
            steps = [step for all_of in (await queries.steps_of(connection, [event_id])).values() for step in all_of]
        if not found and not steps:
            raise _unknown(event_id)
        stored = f"{self._settings.events.topic_prefix}.async/{found[0].partition}/{found[0].offset}" if found else None
        event = documents.event_document(found[0], steps, stored=stored) if found else None
        return Shown(event, [documents.step_document(step) for step in steps])

    async def _payload(self, event: LedgerEvent) -> bytes:
        async with StoredEvents(self._settings) as reader:
            stored = (await reader.read([event])).get(event.event_id)
        if stored is None:
            raise ResourceNotFoundException(f"Kafka does not have event {event.event_id} any more.")
        return stored.payload

    async def _redrive(self, asked: documents.Redrive, home: Home) -> RedrivenAll:
        events = await self._events(home, asked.events.asked(home), asked.max)
        done = await self._actions.redrive(events, asked.qualifier) if events else []
        return RedrivenAll([*done, *(Redriven(each, None, UNKNOWN) for each in _not_among(events, asked.events))])

    async def _cancel(self, asked: documents.Cancel, home: Home) -> Cancelling:
        """Of a filter that names no status, those that have not ended."""
        wanted = asked.events.asked(home)
        if not wanted.statuses and wanted.ids is None:
            wanted = msgspec.structs.replace(wanted, statuses=documents.OPEN)
        events = await self._events(home, wanted, asked.max)
        left = [Left(event.event_id, f"it {_ended(event)}") for event in events if event.status.ended]
        left += [Left(each, UNKNOWN) for each in _not_among(events, asked.events)]
        return Cancelling(await self._actions.cancel(events), left)

    async def _redrive_queue(self, asked: documents.RedriveQueue, home: Home) -> RedrivenAll:
        return RedrivenAll(await self._dead_letters.redrive(asked, home, ACTED_ON_MAX))

    async def _events(self, home: Home, asked: Asked, most: int) -> list[LedgerEvent]:
        if not 1 <= most <= ACTED_ON_MAX:
            raise InvalidRequestContentException(f"max is a number from 1 to {ACTED_ON_MAX}.")
        async with self._registry.read() as connection:
            return await queries.find(connection, home, asked, limit=most)


class _Qualified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    qualifier: documents.Qualifier | None = None


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestContentException(f"The request's body is not what it should be: {error}") from None


def _not_among(events: list[LedgerEvent], asked: documents.Filter) -> list[str]:
    """Of the ids that were asked for, in their order."""
    found = {event.event_id for event in events}
    return [each for each in dict.fromkeys(asked.request_id) if as_uuid(each) not in found]


def _ended(event: LedgerEvent) -> str:
    return f"has ended: {event.status.label}."


def _unknown(event_id: str) -> ApiError:
    return ResourceNotFoundException(f"The ledger has nothing of {event_id}: no such event, or it was accepted just now.")


def _too_large(size_bytes: int) -> ApiError:
    return RequestTooLargeException(f"A body of {size_bytes} bytes is too large (limit {BODY_BYTES_MAX} bytes)")
