"""How requests of `/_lambdad/events` look, JSON and parameters of a query, and how answers are made of what the ledger has."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from shared.domain.arns import Home, merge_qualifier, parse_function_reference, require_reachable
from shared.domain.errors import InvalidParameterValueException
from shared.ledger.answers import Delivery, Event, Step
from shared.ledger.deliveries import NOT_DELIVERED, AskedDeliveries, DeliveryPosition, LedgerDelivery
from shared.ledger.queries import FUTURE_MS, Asked, LedgerEvent, LedgerStep, Position, statuses_named
from shared.ledger.records import Status, StepKind

P = TypeVar("P", Position, DeliveryPosition)

LIMIT = 50
LIMIT_MAX = 500
DELIVERIES = (StepKind.DELIVERED, StepKind.DEAD_LETTERED, StepKind.DELIVERY_REFUSED, StepKind.KEPT)
OPEN = tuple(status for status in Status if not status.ended)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Qualifier = Annotated[str, msgspec.Meta(pattern=r"^(\$LATEST|[a-zA-Z0-9_-]{1,128})\Z")]
QueueName = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_:.-]{1,200}\Z")]
"""Or its ARN."""


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events: as the parameters of a query. since, until: ISO 8601, or how long ago (30s, 10m, 2h, 1d)."""

    function: str = ""
    status: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    error: str = ""
    request_id: tuple[str, ...] = ()

    def asked(self, home: Home) -> Asked:
        """Raises InvalidParameterValueException, ValidationException."""
        try:
            statuses, steps = statuses_named(self.status)
        except KeyError as error:
            raise InvalidParameterValueException(f"{error.args[0]} is no status of an event.") from None
        name, qualifier = "", None
        if self.function:
            reference = parse_function_reference(self.function)
            require_reachable(reference, home)
            name, qualifier = reference.name, merge_qualifier(reference, None)
        asked = Asked(name, qualifier, statuses, steps, error=self.error, ids=self.request_id or None)
        if self.since:
            asked = msgspec.structs.replace(asked, since_ms=moment_ms(self.since))
        if self.until:
            asked = msgspec.structs.replace(asked, until_ms=moment_ms(self.until))
        return asked


class Redrive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """events: which; at most `max` of them, the newest. qualifier: the version or alias to run, the event's own by default."""

    events: Filter
    max: int = 100
    qualifier: Qualifier | None = None


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: Filter
    max: int = 100


class RedriveQueue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """queue: name or ARN of a dead-letter queue. function: for messages whose event the ledger does not know."""

    queue: QueueName
    max: int = 100
    function: str = ""
    qualifier: Qualifier | None = None


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version: a version or alias. against: another, to compare with; by default the recorded error of an event that failed,
    and for any other the version that ran it, which is run once more."""

    version: Qualifier
    against: Qualifier | None = None


def deliveries_asked(parameters: Mapping[str, list[str]]) -> AskedDeliveries:
    """Raises InvalidParameterValueException."""
    _known(parameters, "what", "of", "to", "since", "until", "limit", "after")
    one = {name: parameters.get(name, [""])[-1] for name in ("of", "to", "since", "until")}
    labels = {kind.label: kind for kind in (*DELIVERIES, StepKind.DELIVERY_RETRIED)}
    named = [part for value in parameters.get("what", ()) for part in value.split(",") if part]
    for name in named:
        if name not in labels:
            raise InvalidParameterValueException(
                f"{name} is nothing that becomes of a delivery; there are: {', '.join(labels)}."
            )
    return AskedDeliveries(
        tuple(dict.fromkeys(labels[name] for name in named)) or NOT_DELIVERED,
        moment_ms(one["since"]) if one["since"] else 0,
        moment_ms(one["until"]) if one["until"] else FUTURE_MS,
        one["of"],
        one["to"],
    )


def _known(parameters: Mapping[str, list[str]], *known: str) -> None:
    for name in parameters:
        if name not in known:
            raise InvalidParameterValueException(f"{name} is no parameter; there are: {', '.join(sorted(known))}.")


def filter_of(parameters: Mapping[str, list[str]]) -> Filter:
    """Raises InvalidParameterValueException."""
    _known(parameters, "function", "status", "since", "until", "error", "request_id", "limit", "after")
    one = {name: parameters[name][-1] for name in ("function", "since", "until", "error") if name in parameters}
    many = {
        name: tuple(part for value in parameters[name] for part in value.split(",") if part)
        for name in ("status", "request_id")
        if name in parameters
    }
    return msgspec.convert({**one, **many}, Filter)


def limit_of(parameters: Mapping[str, list[str]]) -> int:
    """Raises InvalidParameterValueException."""
    text = parameters.get("limit", [str(LIMIT)])[-1]
    if not text.isdecimal() or not 1 <= int(text) <= LIMIT_MAX:
        raise InvalidParameterValueException(f"limit is a number from 1 to {LIMIT_MAX}.")
    return int(text)


def after_of(parameters: Mapping[str, list[str]], kind: type[P]) -> P | None:
    """Raises InvalidParameterValueException."""
    text = parameters.get("after", [""])[-1]
    if not text:
        return None
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(text), type=kind)
    except (ValueError, msgspec.DecodeError):
        raise InvalidParameterValueException("after is not what an earlier answer said.") from None


def after(position: Position | DeliveryPosition) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).decode()


def delivery_document(delivery: LedgerDelivery) -> Delivery:
    return Delivery(
        delivery.event_id, iso(delivery.at_ms), delivery.kind.label, delivery.target, delivery.behalf, delivery.detail
    )


def event_document(event: LedgerEvent, steps: list[LedgerStep], *, stored: str | None = None) -> Event:
    return Event(
        request_id=event.event_id,
        function=event.function_name,
        status=event.status.label,
        attempts=event.attempts,
        accepted_at=iso(event.accepted_ms),
        changed_at=iso(event.changed_ms),
        qualifier=event.qualifier,
        started_at=None if event.started_ms is None else iso(event.started_ms),
        next_at=None if event.next_ms is None else iso(event.next_ms),
        version=event.version,
        reason=event.reason,
        error=event.error,
        deliveries=_deliveries(steps),
        stored=stored,
    )


def _deliveries(steps: list[LedgerStep]) -> list[str]:
    """How each ended; of those that have not, what their last try came to."""
    ended = [step for step in steps if step.kind in DELIVERIES]
    targets = {step.target for step in ended}
    tried = {step.target: step for step in steps if step.kind is StepKind.DELIVERY_RETRIED and step.target not in targets}
    return [f"{step.kind.label} {step.target}" for step in (*ended, *tried.values())]


def step_document(step: LedgerStep) -> Step:
    return Step(iso(step.at_ms), step.kind.label, step.target, step.detail, step.source)


def iso(unix_ms: int) -> str:
    """2026-01-31T12:00:00.123Z"""
    return datetime.fromtimestamp(unix_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_ms(text: str) -> int:
    """Unix milliseconds of a time, or of how long ago. Raises InvalidParameterValueException."""
    number, unit = text[:-1], text[-1:]
    if number.isdecimal() and len(number) < 10 and unit in _UNITS_S:
        return int(time.time() - int(number) * _UNITS_S[unit]) * 1_000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParameterValueException(f"{text} is no time: write 2026-02-03T04:05:06Z, or 30s, 10m, 2h, 1d.") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
