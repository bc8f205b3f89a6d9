"""The states of a runtime as its Runtime API sees them: one table, and `advance`, which refuses what is not in it.

Source: the states and transitions that the API's error texts name.
"""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    STARTED = "Started"
    INIT_ERROR = "InitError"
    READY = "Ready"
    RUNNING = "Running"
    RESPONSE = "InvocationResponse"
    ERROR_RESPONSE = "InvocationErrorResponse"
    RESPONSE_SENT = "RuntimeResponseSentState"


class Call(enum.StrEnum):
    """What a runtime can ask, and EVENT: the platform hands an event over."""

    NEXT = "next"
    RESPONSE = "response"
    ERROR = "error"
    INIT_ERROR = "init error"
    EVENT = "event"


TABLE: dict[tuple[State, Call], State] = {
    (State.STARTED, Call.NEXT): State.READY,
    (State.STARTED, Call.INIT_ERROR): State.INIT_ERROR,
    (State.READY, Call.NEXT): State.READY,
    (State.READY, Call.EVENT): State.RUNNING,
    (State.RUNNING, Call.NEXT): State.RUNNING,
    (State.RUNNING, Call.RESPONSE): State.RESPONSE_SENT,
    (State.RUNNING, Call.ERROR): State.RESPONSE_SENT,
    (State.RESPONSE_SENT, Call.NEXT): State.READY,
}

WANTED: dict[Call, State] = {
    Call.NEXT: State.READY,
    Call.RESPONSE: State.RESPONSE,
    Call.ERROR: State.ERROR_RESPONSE,
    Call.INIT_ERROR: State.INIT_ERROR,
    Call.EVENT: State.RUNNING,
}
"""What a refused call would have led to, as the error text names it."""


class IllegalTransitionError(Exception):
    def __init__(self, state: State, call: Call) -> None:
        super().__init__(
            f"State transition from {state} to {WANTED[call]} failed for runtime. Error: State transition is not allowed"
        )


def advance(state: State, call: Call) -> State:
    """Raises IllegalTransitionError, having changed nothing."""
    try:
        return TABLE[state, call]
    except KeyError:
        raise IllegalTransitionError(state, call) from None
