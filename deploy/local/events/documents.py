"""What the endpoint answers, as far as the command line shows it: services/frontend/ledger/documents.py has the whole."""

from __future__ import annotations

import msgspec


class Step(msgspec.Struct, frozen=True):
    at: str
    what: str
    target: str | None = None
    detail: str | None = None
    on_behalf_of: str | None = None


class Event(msgspec.Struct, frozen=True):
    request_id: str
    function: str
    status: str
    attempts: int
    accepted_at: str
    changed_at: str
    qualifier: str | None = None
    started_at: str | None = None
    next_at: str | None = None
    version: str | None = None
    reason: str | None = None
    error: str | None = None
    deliveries: list[str] = []
    stored: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in ("succeeded", "failed", "discarded", "cancelled")


class Listed(msgspec.Struct, frozen=True):
    events: list[Event]
    next: str | None


class Shown(msgspec.Struct, frozen=True):
    event: Event | None
    steps: list[Step]


class Delivery(msgspec.Struct, frozen=True):
    request_id: str
    at: str
    what: str
    target: str | None
    on_behalf_of: str
    detail: str | None = None


class ListedDeliveries(msgspec.Struct, frozen=True):
    deliveries: list[Delivery]
    next: str | None


class Counted(msgspec.Struct, frozen=True):
    count: int


class Redriven(msgspec.Struct, frozen=True):
    request_id: str | None
    became: str | None
    why: str | None = None


class RedrivenAll(msgspec.Struct, frozen=True):
    redriven: list[Redriven]


class Left(msgspec.Struct, frozen=True):
    request_id: str
    why: str


class Cancelling(msgspec.Struct, frozen=True):
    cancelling: list[str]
    left: list[Left] = []


class Answer(msgspec.Struct, frozen=True):
    version: str
    executed_version: str | None
    function_error: str | None
    payload: str


class Replayed(msgspec.Struct, frozen=True):
    request_id: str
    same: bool
    before: Answer
    after: Answer
