"""The life of an execution environment as a table: what is not in it cannot happen."""

from __future__ import annotations

import enum
from types import MappingProxyType

from shared.domain.errors import LambdadError


class State(enum.StrEnum):
    STARTING = "starting"
    IDLE = "idle"
    FROZEN = "frozen"
    """Idle for a little while: none of its processes runs."""
    BUSY = "busy"
    STOPPING = "stopping"
    GONE = "gone"


class Event(enum.StrEnum):
    STARTED = "started"
    """The sandbox is up; its runtime may or may not have initialised (a failed initialisation repeats inside an invocation)."""
    INVOKED = "invoked"
    ANSWERED = "answered"
    """The invocation is over, however it ended; the environment may be used again."""
    FREEZE = "freeze"
    STOP = "stop"
    DESTROYED = "destroyed"


class IllegalTransitionError(LambdadError):
    """An event that the environment's state does not allow: a bug in the worker, never something a caller can cause."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"an environment that is {state} cannot take the event {event}")
        self.state = state
        self.event = event


TRANSITIONS: MappingProxyType[State, MappingProxyType[Event, State]] = MappingProxyType(
    {
        State.STARTING: MappingProxyType({Event.STARTED: State.IDLE, Event.STOP: State.STOPPING}),
        State.IDLE: MappingProxyType({Event.INVOKED: State.BUSY, Event.FREEZE: State.FROZEN, Event.STOP: State.STOPPING}),
        State.FROZEN: MappingProxyType({Event.INVOKED: State.BUSY, Event.STOP: State.STOPPING}),
        State.BUSY: MappingProxyType({Event.ANSWERED: State.IDLE, Event.STOP: State.STOPPING}),
        State.STOPPING: MappingProxyType({Event.DESTROYED: State.GONE}),
        State.GONE: MappingProxyType({}),
    }
)


def advance(state: State, event: Event) -> State:
    """The state after `event`. Raises IllegalTransitionError, and changes nothing, when the table has no such step."""
    following = TRANSITIONS[state].get(event)
    if following is None:
        raise IllegalTransitionError(state, event)
    return following
