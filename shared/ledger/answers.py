"""What `/_lambdad/events` answers, in JSON: the frontend writes it, the command line reads it.

Times are ISO 8601 in UTC.
"""

from __future__ import annotations

import msgspec

from shared.ledger.records import Status

_ENDED = frozenset(status.label for status in Status if status.ended)


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    at: str
    what: str
    target: str | None = None
    detail: str | None = None
    on_behalf_of: str | None = None


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """changed_at: of its end where it has ended. deliveries: "what target" of each, as it ended or was tried last. stored:
    topic, partition and offset of the event itself."""

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
        return self.status in _ENDED


class Listed(msgspec.Struct, frozen=True):
    """next: what `after` is to be for the events behind these; None at the end."""

    events: list[Event]
    next: str | None


class Shown(msgspec.Struct, frozen=True):
    """event: None where only deliveries are known, as of a topic's message."""

    event: Event | None
    steps: list[Step]


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """request_id: of the event, message or firing that it comes from. on_behalf_of: the ARN of the function, subscription, rule
    or schedule."""

    request_id: str
    at: str
    what: str
    target: str | None
    on_behalf_of: str
    detail: str | None = None


class ListedDeliveries(msgspec.Struct, frozen=True):
    """next: as in `Listed`."""

    deliveries: list[Delivery]
    next: str | None


class Counted(msgspec.Struct, frozen=True):
    count: int


class Redriven(msgspec.Struct, frozen=True):
    """request_id: of the event before; None of a message that had none. became: the new event's, None where it was not run
    again; why says why not."""

    request_id: str | None
    became: str | None
    why: str | None = None


class RedrivenAll(msgspec.Struct, frozen=True):
    redriven: list[Redriven]


class Left(msgspec.Struct, frozen=True):
    """An event that cannot be taken back, and why."""

    request_id: str
    why: str


class Cancelling(msgspec.Struct, frozen=True):
    """cancelling: request ids of those that will not be run, unless they run already. left: the others that were named."""

    cancelling: list[str]
    left: list[Left] = []


class Answer(msgspec.Struct, frozen=True):
    """version: as it was asked for. executed_version: that ran; None of an answer that was recorded. payload: as text."""

    version: str
    executed_version: str | None
    function_error: str | None
    payload: str


class Replayed(msgspec.Struct, frozen=True):
    request_id: str
    same: bool
    before: Answer
    after: Answer
