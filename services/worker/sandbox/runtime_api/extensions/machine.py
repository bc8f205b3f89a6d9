"""The states of an extension as the Extensions API sees them: one table, and `advance`, which refuses what is not in it.

Source: the states and transitions of AWS's Runtime API emulator.
"""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    LAUNCH_ERROR = "LaunchError"
    EXITED = "Exited"


class Call(enum.StrEnum):
    """What an extension can ask. EVENT: the platform hands an event over; EXIT: its process has ended; LAUNCH_FAILED: it could
    not be executed."""

    REGISTER = "register"
    NEXT = "next"
    INIT_ERROR = "init error"
    EXIT_ERROR = "exit error"
    EVENT = "event"
    EXIT = "exit"
    LAUNCH_FAILED = "launch failed"


TABLE: dict[tuple[State, Call], State] = {
    (State.STARTED, Call.REGISTER): State.REGISTERED,
    (State.STARTED, Call.LAUNCH_FAILED): State.LAUNCH_ERROR,
    (State.REGISTERED, Call.NEXT): State.READY,
    (State.REGISTERED, Call.INIT_ERROR): State.INIT_ERROR,
    (State.REGISTERED, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.READY, Call.EVENT): State.RUNNING,
    (State.READY, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.RUNNING, Call.NEXT): State.READY,
    (State.RUNNING, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.INIT_ERROR, Call.INIT_ERROR): State.INIT_ERROR,
    (State.EXIT_ERROR, Call.EXIT_ERROR): State.EXIT_ERROR,
    (State.STARTED, Call.EXIT): State.EXITED,
    (State.REGISTERED, Call.EXIT): State.EXITED,
    (State.READY, Call.EXIT): State.EXITED,
    (State.RUNNING, Call.EXIT): State.EXITED,
    (State.INIT_ERROR, Call.EXIT): State.EXITED,
    (State.EXIT_ERROR, Call.EXIT): State.EXITED,
    (State.LAUNCH_ERROR, Call.EXIT): State.EXITED,
}

WANTED: dict[Call, State] = {
    Call.REGISTER: State.REGISTERED,
    Call.NEXT: State.READY,
    Call.INIT_ERROR: State.INIT_ERROR,
    Call.EXIT_ERROR: State.EXITED,
    Call.EVENT: State.RUNNING,
    Call.EXIT: State.EXITED,
    Call.LAUNCH_FAILED: State.LAUNCH_ERROR,
}
"""What a refused call would have led to, as the error text names it."""


class IllegalTransitionError(Exception):
    def __init__(self, state: State, call: Call, extension: str) -> None:
        super().__init__(
            f"State transition from {state} to {WANTED[call]} failed for extension {extension}. "
            "Error: State transition is not allowed"
        )


def advance(state: State, call: Call, extension: str) -> State:
    """extension: as the error text names it. Raises IllegalTransitionError, having changed nothing."""
    try:
        return TABLE[state, call]
    except KeyError:
        raise IllegalTransitionError(state, call, extension) from None
