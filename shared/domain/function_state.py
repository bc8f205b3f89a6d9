"""The state machine of a function version: State and LastUpdateStatus, as tools wait on them.

A version is Pending until its package was seen to be stored and readable, then Active. An update of `$LATEST` is
InProgress until the same was seen of the new package. The table is the machine: an event that is not in it raises and
changes nothing.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class State(enum.StrEnum):
    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"


class UpdateStatus(enum.StrEnum):
    NONE = ""
    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


class Event(enum.StrEnum):
    UPDATED = "updated"
    CODE_READABLE = "code readable"
    CODE_UNREADABLE = "code unreadable"


class Status(NamedTuple):
    state: State
    update: UpdateStatus

    @property
    def settled(self) -> bool:
        return self.state is not State.PENDING and self.update is not UpdateStatus.IN_PROGRESS


CREATED = Status(State.PENDING, UpdateStatus.NONE)
PUBLISHED = Status(State.ACTIVE, UpdateStatus.SUCCESSFUL)
CREATING_REASON = "The function is being created."
CREATING_REASON_CODE = "Creating"

TRANSITIONS: dict[tuple[Status, Event], Status] = {
    (CREATED, Event.CODE_READABLE): PUBLISHED,
    (CREATED, Event.CODE_UNREADABLE): Status(State.FAILED, UpdateStatus.NONE),
    (Status(State.FAILED, UpdateStatus.NONE), Event.UPDATED): CREATED,
    (PUBLISHED, Event.UPDATED): Status(State.ACTIVE, UpdateStatus.IN_PROGRESS),
    (Status(State.ACTIVE, UpdateStatus.FAILED), Event.UPDATED): Status(State.ACTIVE, UpdateStatus.IN_PROGRESS),
    (Status(State.ACTIVE, UpdateStatus.IN_PROGRESS), Event.CODE_READABLE): PUBLISHED,
    (Status(State.ACTIVE, UpdateStatus.IN_PROGRESS), Event.CODE_UNREADABLE): Status(State.ACTIVE, UpdateStatus.FAILED),
}


class IllegalTransitionError(Exception):
    """The event cannot happen in this state."""


def advance(status: Status, event: Event) -> Status:
    """The status after an event. Raises IllegalTransitionError."""
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransitionError(f"{event} while {status}") from None
